# How llama.cpp is built for Footnote, read by CMake right after `project(llama_cpp)`:
#
#   CMAKE_ARGS="-DCMAKE_PROJECT_llama_cpp_INCLUDE=…/llama-cpp.cmake" pip install llama-cpp-python
#
# The arithmetic is compiled once for each of a few kinds of CPU, and rag/backends.py chooses among them when
# it runs. llama.cpp's default, code for the CPU that it is compiled on, dies on another one
# (an image, a cached wheel) and on virtual machines that announce AMX but do not run it.

set(GGML_NATIVE OFF)
set(GGML_BACKEND_DL ON)
set(GGML_CPU_ALL_VARIANTS ON)

# Of llama.cpp's fourteen variants for x86, these; each takes a minute of one core to compile. None uses AMX.
set(variants x64 haswell alderlake skylakex icelake)
# For Arm, those of its list that most machines are of.
list(APPEND variants armv8.0_1 armv8.2_1 armv8.2_2 armv8.6_1 armv8.6_2 apple_m1 apple_m2_m3 apple_m4)
set(list "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp/ggml/src/CMakeLists.txt")
file(READ "${list}" text)
string(REGEX MATCHALL "ggml_add_cpu_backend_variant\\([a-z0-9_.]+" calls "${text}")
foreach(call ${calls})
  string(REPLACE "ggml_add_cpu_backend_variant(" "" variant "${call}")
  if(NOT variant IN_LIST variants AND NOT variant STREQUAL "tag_name")
    string(REGEX REPLACE "ggml_add_cpu_backend_variant\\(${variant}[ )][^\n]*" "" text "${text}")
  endif()
endforeach()
file(WRITE "${list}" "${text}")

# The modules are installed beside the other libraries, and found from there.
set(CMAKE_INSTALL_BINDIR llama_cpp/lib)
set(CMAKE_INSTALL_RPATH "$ORIGIN")

# Nothing here uses the command-line programs' common code and the image models.
set(LLAMA_BUILD_COMMON OFF)
set(LLAVA_BUILD OFF)

# 130 small files, one for each kind of model, include the same headers: compiled 24 at once, they take
# a third of the time.
function(compile_models_together)
  set_target_properties(llama PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 24)
  get_target_property(sources llama SOURCES)
  list(FILTER sources EXCLUDE REGEX "models/")
  set_source_files_properties(
    ${sources} TARGET_DIRECTORY llama PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
cmake_language(DEFER CALL compile_models_together)
