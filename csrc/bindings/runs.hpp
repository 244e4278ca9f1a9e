// Runs, as several bound functions take them.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef LOWBIT_BINDINGS_RUNS_HPP_
#define LOWBIT_BINDINGS_RUNS_HPP_

#include <array>
#include <string>

#include "arrays.hpp"

namespace lowbit::bindings {

using Runs = std::array<int64_t, 5>;  // the members of lowbit_runs in order

inline lowbit_runs runs_of(const Runs& runs) {
  for (int64_t size : runs)
    if (size < 0) throw py::value_error("runs: size " + std::to_string(size) + ", expected none below 0");
  return {runs[0], runs[1], runs[2], runs[3], runs[4]};
}

// rows x row_length floats.
inline const float* run_floats(const Array& x, const lowbit_runs& runs) {
  return static_cast<const float*>(data_of(x, "x", {kFloat32}, product("x", runs.rows, runs.row_length)));
}

}  // namespace lowbit::bindings

#endif  // LOWBIT_BINDINGS_RUNS_HPP_
