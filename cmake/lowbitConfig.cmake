# find_package(lowbit CONFIG) gives the target lowbit::lowbit.
include("${CMAKE_CURRENT_LIST_DIR}/lowbit-targets.cmake")

# The static library is C++ that needs no C++ runtime: a project of C alone links it with its C compiler.
get_target_property(lowbit_configurations lowbit::lowbit IMPORTED_CONFIGURATIONS)
foreach(lowbit_configuration IN LISTS lowbit_configurations)
  set_property(TARGET lowbit::lowbit PROPERTY IMPORTED_LINK_INTERFACE_LANGUAGES_${lowbit_configuration})
endforeach()
unset(lowbit_configurations)
unset(lowbit_configuration)
