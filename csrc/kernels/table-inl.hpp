// Fills the contract for one ISA: included by the shims in isa/, after its vector and tile headers.
#pragma once

#include "../kernels.hpp"

#include "bits-inl.hpp"
#include "fake_quantize-inl.hpp"
#include "finish-inl.hpp"
#include "floats-inl.hpp"
#include "gemm_float-inl.hpp"
#include "gemv-inl.hpp"
#include "histogram-inl.hpp"
#include "hqq-inl.hpp"
#include "panel-inl.hpp"
#include "params-inl.hpp"
#include "prepare-inl.hpp"
#include "quantize-inl.hpp"
#include "search-inl.hpp"
#include "stream-inl.hpp"
#include "sum-inl.hpp"

#define LOWBIT_PASTE(a, b) a##b
#define LOWBIT_TABLE(isa) LOWBIT_PASTE(kernels_, isa)
#define LOWBIT_QUOTE(text) #text
#define LOWBIT_NAME(isa) LOWBIT_QUOTE(isa)

namespace lowbit {

// clang-format off: one slot a line, in the order of kernels.hpp
const Kernels LOWBIT_TABLE(LOWBIT_ISA) = {
    LOWBIT_NAME(LOWBIT_ISA),
    LOWBIT_ISA::Vec::kLanes,
    LOWBIT_ISA::range_runs,
    LOWBIT_ISA::range_each,
    LOWBIT_ISA::choose_params,
    LOWBIT_ISA::quantize_runs,
    LOWBIT_ISA::dequantize_runs,
    LOWBIT_ISA::pack_bits,
    LOWBIT_ISA::unpack_bits,
    LOWBIT_ISA::encode_floats,
    LOWBIT_ISA::decode_floats,
    LOWBIT_ISA::stream,
    LOWBIT_ISA::stream_fence,
    LOWBIT_ISA::Tile::kBytesPerK,
    LOWBIT_ISA::Tile::kSmallBits,
    LOWBIT_ISA::Tile::kBias,
    LOWBIT_ISA::Tile::kPackedRows,
    LOWBIT_ISA::prepare_float,
    LOWBIT_ISA::prepare_codes,
    LOWBIT_ISA::gemm_codes,
    LOWBIT_ISA::gemm_groups,
    LOWBIT_ISA::gemv_groups,
    LOWBIT_ISA::gemm_float,
    LOWBIT_ISA::gemv_float,
    LOWBIT_ISA::unpack_panel,
    LOWBIT_ISA::decode_panel,
    LOWBIT_ISA::correct_row,
    LOWBIT_ISA::finish_rows,
    LOWBIT_ISA::fake_quantize_runs,
    LOWBIT_ISA::fake_quantize_gradient_runs,
    LOWBIT_ISA::add_lanes,
    LOWBIT_ISA::search_load,
    LOWBIT_ISA::search_start,
    LOWBIT_ISA::search_fit,
    LOWBIT_ISA::search_refine,
    LOWBIT_ISA::search_error,
    LOWBIT_ISA::search_best,
    LOWBIT_ISA::histogram,
    LOWBIT_ISA::absolute_sum,
    LOWBIT_ISA::hqq_zero,
};
// clang-format on

}  // namespace lowbit
