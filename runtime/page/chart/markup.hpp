// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Builds SVG and HTML whose text is escaped, whatever it was.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime::page {

/// Text between tags or in an attribute: & < > " ' as entities; control characters and bytes that
/// are no UTF-8 as U+FFFD, so that the file stays well-formed XML.
[[nodiscard]] std::string escaped(std::string_view text);

/// A length in pixels: one decimal, no trailing zero, never "-0".
[[nodiscard]] std::string px(double value);

/// name="value"; the value is escaped where it is written.
struct Attribute {
  Attribute(std::string_view of, double number) : name(of), value(px(number)) {}
  Attribute(std::string_view of, int number) : name(of), value(std::to_string(number)) {}
  Attribute(std::string_view of, std::string text) : name(of), value(std::move(text)) {}
  Attribute(std::string_view of, const char* text) : name(of), value(text) {}

  std::string name;
  std::string value;
};

/// A document while it grows. Elements close in the order in which they were opened, since only the
/// innermost can be closed.
class Markup {
 public:
  Markup& open(std::string_view tag, const std::vector<Attribute>& attributes = {});
  Markup& close();
  /// Without content: <tag/>.
  Markup& empty(std::string_view tag, const std::vector<Attribute>& attributes);
  Markup& element(std::string_view tag, const std::vector<Attribute>& attributes,
                  std::string_view text);
  Markup& text(std::string_view text);
  /// As it is: what another Markup has made.
  Markup& raw(std::string_view markup);

  /// @throws std::logic_error  an element is still open
  [[nodiscard]] std::string take();

 private:
  void begin(std::string_view tag, const std::vector<Attribute>& attributes);

  std::string text_;
  std::vector<std::string> open_;
};
}  // namespace switchyard::runtime::page
