# find_package(lowbit CONFIG) gives the target lowbit::lowbit.
include("${CMAKE_CURRENT_LIST_DIR}/lowbit-targets.cmake")
