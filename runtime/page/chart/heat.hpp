// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Matrices as coloured cells, several beside or below each other with one scale of colours.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/page/chart/sheet.hpp"

namespace switchyard::runtime::page {

struct Matrix2 {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values = {};  ///< [rows, columns]; not finite: nothing is there
};

enum class Gather { kMean, kMost };

/// What a matrix looks like in fewer cells.
struct Gathered {
  Matrix2 matrix = {};
  std::int64_t row_cells = 1;  ///< rows in each cell but perhaps the last
  std::int64_t column_cells = 1;
};
/// Cells of equal numbers of rows and columns, until there are at most so many of each.
[[nodiscard]] Gathered gather(const Matrix2& matrix, std::int64_t most_rows,
                              std::int64_t most_columns, Gather how);

struct HeatPanel {
  std::string name = {};
  Matrix2 matrix = {};
  std::vector<std::string> row_names = {};     ///< [rows]; empty: numbers from 0
  std::vector<std::string> column_names = {};  ///< the same
  std::vector<std::int64_t> cuts = {};         ///< columns before which a rank ends
  std::int64_t row_step = 1;                   ///< what a row's number counts, if it was gathered
  std::int64_t column_step = 1;
};

struct HeatChart {
  std::string x_label = {};
  std::string y_label = {};
  std::string level_label = {};     ///< "rows, over those of the mean expert"
  std::vector<double> levels = {};  ///< [kHeatLevels - 1], rising: where the next colour begins
  bool square = false;              ///< cells of a rank-by-rank matrix
  std::vector<HeatPanel> panels = {};
};

/// Even, round steps over these values; from 0 unless all are far from it.
[[nodiscard]] std::vector<double> even_levels(double least, double most);

[[nodiscard]] Drawing draw_heat(const HeatChart& chart, Layout layout);
}  // namespace switchyard::runtime::page
