// What every bound function shares: the context, the status check and the released GIL.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef LOWBIT_BINDINGS_CONTEXT_HPP_
#define LOWBIT_BINDINGS_CONTEXT_HPP_

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

#include "lowbit/lowbit.h"

namespace lowbit::bindings {

// LOWBIT_INVALID_TYPE is a TypeError, every other failure a ValueError.
inline void check(lowbit_status status, const lowbit_error& error) {
  if (status == LOWBIT_OK) return;
  if (status == LOWBIT_INVALID_TYPE) throw pybind11::type_error(error.message);
  throw pybind11::value_error(error.message);
}

// Before Python 3.14 a daemon thread that wants the GIL back while the interpreter shuts down is ended by pthread_exit.
// Unwinding would abort the process in the first noexcept destructor (gil_scoped_release's, for one), and others would
// touch Python objects without the GIL. So the thread waits for the end of the process, which is what 3.14 makes it do.
inline void take_gil(PyThreadState* state) {
  struct Unwound {
    bool armed = true;
    ~Unwound() {
      while (armed) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  } unwound;
  PyEval_RestoreThread(state);
  unwound.armed = false;
}

// Runs call(&error), which does not throw, without the GIL. That is safe because call uses plain pointers and sizes
// only, taken while the GIL was held, and the bound function's arguments keep every array alive until it returns.
// Another thread that writes to an array meanwhile can change values, never the memory that is read.
template <class Call>
void run(Call call) {
  lowbit_error error{};
  PyThreadState* const state = PyEval_SaveThread();
  const lowbit_status status = call(&error);
  take_gil(state);
  check(status, error);
}

void bind_runtime(pybind11::module_& module);
void bind_quantize(pybind11::module_& module);
void bind_calibrate(pybind11::module_& module);
void bind_weights(pybind11::module_& module);
void bind_matmul(pybind11::module_& module);
void bind_fake_quantize(pybind11::module_& module);

}  // namespace lowbit::bindings

#endif  // LOWBIT_BINDINGS_CONTEXT_HPP_
