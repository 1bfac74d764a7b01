# What every target shares: warnings, sanitizers, linker, compiler cache. A tool that is absent is not used.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEV "-O1 -g1" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2" CACHE STRING "" FORCE)

find_program(TROUPE_CCACHE ccache)
if(TROUPE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${TROUPE_CCACHE})
endif()

find_program(TROUPE_MOLD mold)
if(TROUPE_MOLD)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_link_options(-fuse-ld=mold)
  endif()
endif()

# What one thread allocates another one frees, all the time: mimalloc takes an eighth off a run's CPU (docs/performance.md).
find_library(TROUPE_MALLOC mimalloc)
function(troupe_allocator target)
  if(TROUPE_MALLOC AND NOT TROUPE_SANITIZE)
    # First of all libraries, though nothing names it; of the others only those that are used: to load them is most of a start.
    target_link_options(${target} PRIVATE LINKER:--no-as-needed,${TROUPE_MALLOC},--as-needed)
  endif()
endfunction()

function(troupe_target target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    -Wno-missing-field-initializers) # designated initialisers: members have defaults
  if(TROUPE_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
  if(TROUPE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Only guesses of GCC 12's optimizer, and wrong ones, about moved variants; the builds of ./check have every warning as an error.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-stringop-overread)
  endif()
  if(TROUPE_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${TROUPE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${TROUPE_SANITIZE})
    if(TROUPE_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PUBLIC -Wno-tsan) # Asio's fences: the sanitizer does not see them, locks stand beside them
    endif()
  endif()
  if(TROUPE_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# Builds that nobody edits in between compile several files as one: a third of the time, most of which goes into the same templates.
# The dev preset compiles each file alone, which sees what an include is missing.
option(TROUPE_UNITY "Compile the libraries' files several at a time" OFF)
function(troupe_unity target batch)
  if(TROUPE_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${batch})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # A file that gives a member a type of its own anonymous namespace is no header, though one file seems to include it.
      target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
    endif()
  endif()
endfunction()
