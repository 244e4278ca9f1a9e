// lowbit._core: checks arrays, releases the GIL, calls lowbit.h; nothing else. Conveniences live in python/lowbit.
//
// SPDX-License-Identifier: Apache-2.0
#include "context.hpp"

// No global mutable state of its own, so free-threaded Python needs no GIL here.
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The compiled part of lowbit.";
  lowbit::bindings::bind_runtime(module);
  lowbit::bindings::bind_quantize(module);
  lowbit::bindings::bind_calibrate(module);
  lowbit::bindings::bind_weights(module);
  lowbit::bindings::bind_matmul(module);
  lowbit::bindings::bind_fake_quantize(module);
}
