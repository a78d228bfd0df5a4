// SPDX-License-Identifier: Apache-2.0
#include "launch/json_output.hpp"

#include <span>
#include <utility>

namespace switchyard::launch {

JsonOutput::JsonOutput(const std::string& file, std::ostream& stdout_stream,
                       nlohmann::ordered_json header)
    : header_(std::move(header)) {
  if (file == "-") {
    stdout_ = &stdout_stream;
  } else {
    file_ = std::make_unique<runtime::WholeFile>("--json", file);
  }
}

void JsonOutput::write(const nlohmann::ordered_json& result) {
  if (!wanted()) return;
  nlohmann::ordered_json whole = header_;
  whole.update(result);
  using nlohmann::detail::error_handler_t;
  const std::string text = whole.dump(2, ' ', false, error_handler_t::replace) + "\n";
  if (stdout_ != nullptr) {
    *stdout_ << text;
    return;
  }
  file_->write(std::as_bytes(std::span(text)));
  file_->commit();
}
}  // namespace switchyard::launch
