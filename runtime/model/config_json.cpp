// SPDX-License-Identifier: Apache-2.0
#include <cctype>
#include <optional>
#include <stdexcept>

#include "runtime/model/config_family.hpp"
#include "runtime/model/model.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/nearest.hpp"

namespace switchyard::runtime {
namespace {
using Message = model::v1::Model;
using Reader = void (*)(const ConfigReader&, Message&);

/// Calls visit(family, reader, other spellings with blanks between) for every family, in the order
/// in which messages name them. The one list of them; a function and no array, so that it is no
/// data.
template <class Visit>
void each_family(const Visit& visit) {
  visit("mixtral", config::mixtral, "");
  visit("qwen2_moe", config::qwen2_moe, "");
  visit("qwen3_moe", config::qwen3_moe, "");
  visit("qwen3_next", config::qwen3_next, "");
  visit("olmoe", config::olmoe, "");
  visit("jamba", config::jamba, "");
  visit("arctic", config::arctic, "");
  visit("dbrx", config::dbrx, "");
  visit("grok1", config::grok1, "grok1model grok");
  visit("hunyuan", config::hunyuan, "hunyuanmoe");
  visit("hunyuan_v1_moe", config::hunyuan_v1_moe, "hunyuanmoev1");
  visit("ernie4_5_moe", config::ernie4_5_moe, "");
  visit("skywork_moe", config::skywork_moe, "skywork");
  visit("openmoe", config::openmoe, "hfopenmoe");
  visit("jetmoe", config::jetmoe, "");
  visit("granitemoe", config::granitemoe, "");
  visit("gpt_oss", config::gpt_oss, "");
  visit("llama_moe", config::llama_moe, "");
  visit("yuan", config::yuan, "yuan2");
  visit("deepseek_moe", config::deepseek_moe, "deepseek");
  visit("deepseek_v2", config::deepseek_v2, "");
  visit("deepseek_v3", config::deepseek_v3, "");
  visit("glm4_moe", config::glm4_moe, "");
  visit("glm_moe_dsa", config::glm_moe_dsa, "");
  visit("mistral4", config::mistral4, "");
  visit("mistral_large_3", config::mistral_large_3, "mistrallarge3");
  visit("longcat_flash", config::longcat_flash, "");
  visit("phimoe", config::phimoe, "grin grinmoe");
  visit("llama4", config::llama4, "llama4text");
  visit("minimax_m2", config::minimax_m2, "");
}

/// Letters and digits, in lower case: "HunYuanMoEV1" and "grok-1" as they are compared.
std::string bare(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) result += static_cast<char>(std::tolower(byte));
  }
  return result;
}

struct Family {
  std::string name;
  Reader reader = nullptr;
};

std::optional<Family> find_family(std::string_view name) {
  const std::string wanted = bare(name);
  std::optional<Family> found;
  each_family([&](const char* family, Reader reader, std::string_view others) {
    bool matches = bare(family) == wanted;
    while (!matches && !others.empty()) {
      const std::size_t blank = others.find(' ');
      matches = others.substr(0, blank) == wanted;
      others = blank == std::string_view::npos ? "" : others.substr(blank + 1);
    }
    if (matches) found = Family{family, reader};
  });
  return found;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  each_family([&](const char* family, Reader, std::string_view) { names.emplace_back(family); });
  return names;
}

/// By the name given, else model_type, else the architecture's class.
Family family_of(const ConfigReader& json, std::string_view given) {
  std::string got(given);
  if (given.empty()) {
    got = json.text("model_type", "");
    if (const auto family = find_family(got)) return *family;
    for (std::string name : json.texts("architectures")) {
      if (const std::size_t end = name.find("For"); end != std::string::npos) name.resize(end);
      if (const auto family = find_family(name)) return *family;
      if (got.empty()) got = name;
    }
  } else if (const auto family = find_family(given)) {
    return *family;
  }
  const std::vector<std::string> known = family_names();
  const std::string hint = nearest(got, known);
  throw std::invalid_argument("config.json: model_type is '" + got + "', want " + one_of(known) +
                              (hint.empty() ? "" : "; nearest is " + hint));
}
}  // namespace

Model Model::from_config_json(std::string_view json, std::string_view family) {
  const ConfigReader config(json);
  const Family found = family_of(config, family);
  Message message;
  message.set_name(found.name);
  message.set_family(found.name);
  found.reader(config, message);
  Model model(std::move(message));
  try {
    model.validate();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("config.json (" + found.name + "): " + error.what());
  }
  return model;
}
}  // namespace switchyard::runtime
