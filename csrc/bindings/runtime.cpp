// Version, instruction sets, formats, threads and the context.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "../pool.hpp"
#include "context.hpp"

namespace py = pybind11;

namespace lowbit::bindings {
namespace {

py::tuple names(const char* (*name)(int)) {
  py::list list;
  for (int i = 0; name(i) != nullptr; ++i) list.append(name(i));
  return py::tuple(list);
}

lowbit_context make_context(const std::optional<std::string>& isa, int threads) {
  if (threads < 1) throw py::value_error("threads: " + std::to_string(threads) + ", expected at least 1");
  lowbit_options options{};
  options.struct_size = sizeof options;
  options.isa = isa ? isa->c_str() : nullptr;
  options.parallel_for = threads > 1 ? &Pool::run : nullptr;
  options.max_threads = threads;
  lowbit_context context;
  lowbit_error error{};
  check(lowbit_context_init(&context, &options, &error), error);
  return context;
}

py::tuple formats() {
  py::list list;
  for (int i = 0; lowbit_format_name(i) != nullptr; ++i) {
    lowbit_error error{};
    lowbit_format format = 0;
    check(lowbit_format_by_name(lowbit_format_name(i), &format, &error), error);
    lowbit_format_info info{};
    info.struct_size = sizeof info;
    check(lowbit_format_describe(format, &info, &error), error);
    list.append(py::make_tuple(info.name, info.format, info.bits, static_cast<int>(info.kind), info.qmin, info.qmax,
                               info.max_value, info.group_size, static_cast<int>(info.scale_type),
                               info.has_global_scale != 0, info.has_int8 != 0, static_cast<int>(info.default_compute)));
  }
  return py::tuple(list);
}

py::dict types() {
  py::dict dict;
  dict["float32"] = static_cast<int>(LOWBIT_FLOAT32);
  dict["float16"] = static_cast<int>(LOWBIT_FLOAT16);
  dict["int8"] = static_cast<int>(LOWBIT_INT8);
  dict["uint8"] = static_cast<int>(LOWBIT_UINT8);
  dict["bfloat16"] = static_cast<int>(LOWBIT_BFLOAT16);
  dict["float8_e4m3fn"] = static_cast<int>(LOWBIT_FLOAT8_E4M3FN);
  dict["float8_e5m2"] = static_cast<int>(LOWBIT_FLOAT8_E5M2);
  dict["float8_e4m3fnuz"] = static_cast<int>(LOWBIT_FLOAT8_E4M3FNUZ);
  dict["float8_e5m2fnuz"] = static_cast<int>(LOWBIT_FLOAT8_E5M2FNUZ);
  dict["float8_e4m3"] = static_cast<int>(LOWBIT_FLOAT8_E4M3);
  dict["float8_e3m4"] = static_cast<int>(LOWBIT_FLOAT8_E3M4);
  dict["float8_e4m3b11fnuz"] = static_cast<int>(LOWBIT_FLOAT8_E4M3B11FNUZ);
  dict["float8_e8m0fnu"] = static_cast<int>(LOWBIT_FLOAT8_E8M0FNU);
  dict["float6_e2m3fn"] = static_cast<int>(LOWBIT_FLOAT6_E2M3FN);
  dict["float6_e3m2fn"] = static_cast<int>(LOWBIT_FLOAT6_E3M2FN);
  dict["float4_e2m1fn"] = static_cast<int>(LOWBIT_FLOAT4_E2M1FN);
  return dict;
}

}  // namespace

void bind_runtime(py::module_& module) {
  module.attr("MAX_THREADS") = kMaxThreads;
  module.def("version", &lowbit_version);
  module.def("types", &types);
  module.def("available_isas", [] { return names(&lowbit_available_isa); });
  module.def("built_isas", [] { return names(&lowbit_built_isa); });
  module.def("cpu_description", [] {
    char text[256];
    lowbit_cpu_description(text, sizeof text);
    return std::string(text);
  });
  module.def("formats", &formats);
  module.def("default_threads", &Pool::default_threads);
  module.def("set_spin_microseconds", &Pool::set_spin_microseconds, py::arg("microseconds"));

  // An ordinary type, as the stub says, not one of pybind11's metaclass.
  py::class_<lowbit_context>(module, "Context", py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)))
      .def(py::init(&make_context), py::arg("isa"), py::arg("threads"))
      .def_property_readonly("isa", &lowbit_context_isa);
}

}  // namespace lowbit::bindings
