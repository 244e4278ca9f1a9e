# What the library shows the linker, compared with csrc/lowbit.symbols:
#   cmake -D NM=… -D LIST=… -D SHARED=… -D STATIC=… -P check_symbols.cmake
file(STRINGS "${LIST}" listed)
list(LENGTH listed count)
if(count EQUAL 0)
  message(FATAL_ERROR "${LIST} lists nothing")
endif()

function(defined_symbols out file)  # names that others can link with
  execute_process(COMMAND "${NM}" -P -g --defined-only ${ARGN} "${file}" OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${text}")
  set(names "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^([^ ]+) [A-Za-z] ")
      list(APPEND names "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(SORT names)
  list(REMOVE_DUPLICATES names)
  set(${out} "${names}" PARENT_SCOPE)
endfunction()

# The shared library exports the list and nothing else.
defined_symbols(exported "${SHARED}" -D)
set(sorted ${listed})
list(SORT sorted)
if(NOT "${listed}" STREQUAL "${sorted}")
  message(FATAL_ERROR "${LIST}: not sorted")
endif()
set(missing ${listed})
list(REMOVE_ITEM missing ${exported})
set(more ${exported})
list(REMOVE_ITEM more ${listed})
if(missing OR more)
  message(FATAL_ERROR "exported, but not in ${LIST}: ${more}\nin ${LIST}, but not exported: ${missing}")
endif()

# The static one may show the linker more, but only in its own namespace, where a program cannot have the same name.
defined_symbols(global "${STATIC}")
set(missing ${listed})
list(REMOVE_ITEM missing ${global})
list(REMOVE_ITEM global ${listed})
# lowbit::…; what the compiler makes for exceptions thrown through a function; templates of the standard library
list(FILTER global EXCLUDE REGEX "^_ZN[KVO]*6lowbit|^_ZT[VIS]N6lowbit|^DW\\.ref\\.|^_ZN?[KVO]*St|^_ZN[KVO]*9__gnu_cxx")
if(missing OR global)
  message(FATAL_ERROR "${STATIC}: names outside of namespace lowbit: ${global}\nnot defined: ${missing}")
endif()
message(STATUS "${count} functions exported")
