# How llama.cpp is built for Footnote, read by CMake right after `project(llama_cpp)`:
#
#   CMAKE_ARGS="-DCMAKE_PROJECT_llama_cpp_INCLUDE=…/llama-cpp.cmake" pip install llama-cpp-python
#
# The arithmetic is compiled once for each of a few kinds of CPU, and rag/models/generation/backends.py chooses among them when
# it runs. llama.cpp's default, code for the CPU that it is compiled on, dies on another one
# (an image, a cached wheel) and on virtual machines that announce AMX but do not run it.

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

# On other machines it is llama.cpp's own build, for the CPU that it is compiled on.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64|aarch64|arm64|ARM64)$"
   OR NOT CMAKE_SYSTEM_NAME MATCHES "^(Linux|Darwin)$")
  return()
endif()

set(GGML_NATIVE OFF)
set(GGML_BACKEND_DL ON)
set(GGML_CPU_ALL_VARIANTS ON)

# Each variant takes a minute of one core to compile: those are left out that few machines need, and those
# that use AMX. Left for x86 are x64, haswell, alderlake, skylakex and icelake.
set(left_out sse42 sandybridge ivybridge piledriver cannonlake cascadelake cooperlake zen4 sapphirerapids)
list(APPEND left_out armv8.2_3 armv9.2_1 armv9.2_2 apple_m4)
set(list "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp/ggml/src/CMakeLists.txt")
file(READ "${list}" text)
foreach(variant ${left_out})
  string(REPLACE "." "\\." variant "${variant}")
  string(REGEX REPLACE "ggml_add_cpu_backend_variant\\(${variant}[ )][^\n]*" "" text "${text}")
endforeach()
# CPUs with DOTPROD alone are rare; those with MATMUL_INT8 and without SVE are not (Apple's, under Linux).
string(REGEX REPLACE "ggml_add_cpu_backend_variant\\(armv8\\.2_1 +DOTPROD\\)"
  "ggml_add_cpu_backend_variant(armv8.6_0 DOTPROD FP16_VECTOR_ARITHMETIC MATMUL_INT8)" text "${text}")
file(WRITE "${list}" "${text}")

# The modules are installed beside the other libraries, and find these there.
set(CMAKE_INSTALL_BINDIR llama_cpp/lib)
if(APPLE)
  set(CMAKE_INSTALL_RPATH "@loader_path")
else()
  set(CMAKE_INSTALL_RPATH "$ORIGIN")
endif()
