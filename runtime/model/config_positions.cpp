// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

// Rotary embedding in all the ways in which a config.json can ask for it, eps of norms, and the
// tokens that begin and end a text.
namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {

double positive(const ConfigReader& json, const std::string& key, double missing) {
  const double value = json.real(key, missing);
  if (!(value > 0)) json.refuse(key, "a number above 0");
  return value;
}

void read_yarn(const ConfigReader& scaling, Message& m) {
  m.set_rope_scaling(v1::RopeScaling::yarn);
  // Missing and 0 give the default, as in the reference ("or 32").
  if (scaling.real("beta_fast", 0) != 0) m.set_yarn_beta_fast(scaling.real("beta_fast", 0));
  if (scaling.real("beta_slow", 0) != 0) m.set_yarn_beta_slow(scaling.real("beta_slow", 0));
  if (!scaling.flag("truncate", true)) m.set_yarn_truncate(false);
  m.set_yarn_mscale(scaling.real("mscale", 0));
  m.set_yarn_mscale_all_dim(scaling.real("mscale_all_dim", 0));
  if (scaling.has("attention_factor") && !scaling.is_null("attention_factor")) {
    m.set_rope_attention_factor(scaling.real("attention_factor", 1));
  }
}

void read_longrope(const ConfigReader& scaling, Message& m) {
  m.set_rope_scaling(v1::RopeScaling::longrope);
  for (const double factor : scaling.reals("short_factor")) m.add_rope_short_factors(factor);
  for (const double factor : scaling.reals("long_factor")) m.add_rope_long_factors(factor);
  // Phi-3.5-MoE names the factor of cos and sin itself, once for each kind of context.
  const double short_mscale = scaling.real("short_mscale", 0);
  const double factor = scaling.real("attention_factor", short_mscale);
  if (factor > 0) m.set_rope_attention_factor(factor);
  const double long_mscale = scaling.real("long_mscale", short_mscale);
  if (long_mscale != short_mscale) m.set_rope_long_attention_factor(long_mscale);
}

/// Hunyuan: with alpha, a larger base from the beginning on; without, one that follows the length
/// of the text, which no cache of turned keys can follow.
void read_dynamic(const ConfigReader& scaling, Message& m) {
  const double alpha = scaling.real("alpha", 0);
  if (!(alpha > 0)) scaling.refuse("alpha", "a number above 0 with type dynamic");
  const auto width = static_cast<double>(m.rotary_dim() > 0 ? m.rotary_dim() : m.head_dim());
  if (width <= 2) scaling.refuse("type", "another one for heads of 2 elements");
  m.set_rope_theta(m.rope_theta() * std::pow(alpha, width / (width - 2)));
}

void read_scaling(const ConfigReader& json, const ConfigReader& scaling, Message& m) {
  const std::string type = scaling.text("rope_type", scaling.text("type", "default"));
  if (type == "default" || type == "none") return;
  if (type == "dynamic") return read_dynamic(scaling, m);
  const std::int64_t original = json.integer("original_max_position_embeddings", m.max_context());
  m.set_rope_original_context(scaling.integer("original_max_position_embeddings", original));
  const double ratio =
      m.rope_original_context() > 0
          ? static_cast<double>(m.max_context()) / static_cast<double>(m.rope_original_context())
          : 1;
  m.set_rope_factor(positive(scaling, "factor", ratio > 0 ? ratio : 1));
  if (type == "linear") {
    m.set_rope_scaling(v1::RopeScaling::linear);
  } else if (type == "llama3") {
    m.set_rope_scaling(v1::RopeScaling::llama3);
    m.set_rope_low_freq_factor(positive(scaling, "low_freq_factor", 1));
    m.set_rope_high_freq_factor(positive(scaling, "high_freq_factor", 4));
  } else if (type == "yarn" || type == "deepseek_yarn") {
    read_yarn(scaling, m);
  } else if (type == "longrope" || type == "su") {
    read_longrope(scaling, m);
  } else {
    scaling.refuse(scaling.has("rope_type") ? "rope_type" : "type",
                   "default, linear, llama3, yarn, longrope or dynamic");
  }
}
}  // namespace

bool read_full_layers(const ConfigReader& json, Message& m) {
  const std::vector<std::string> types = json.texts("layer_types");
  if (types.empty()) return false;
  if (static_cast<std::int64_t>(types.size()) != m.num_layers()) {
    json.refuse("layer_types", "one name a layer");
  }
  for (std::size_t layer = 0; layer < types.size(); ++layer) {
    if (types[layer] == "full_attention") {
      m.add_full_attention_layers(static_cast<std::int64_t>(layer));
    }
  }
  return true;
}

void read_pairing(const ConfigReader& json, const std::string& key, bool missing, Message& m) {
  m.set_rope(json.flag(key, missing) ? v1::Rope::interleaved : v1::Rope::half);
}

void read_ends(const ConfigReader& json, const PositionDefaults& defaults, Message& m) {
  if (json.is_list("eos_token_id")) {
    for (const std::int64_t id : json.integers("eos_token_id")) m.add_eos_tokens(id);
  } else if (json.has("eos_token_id") && !json.is_null("eos_token_id")) {
    m.add_eos_tokens(json.integer("eos_token_id"));
  } else if (defaults.eos && !json.is_null("eos_token_id")) {
    m.add_eos_tokens(*defaults.eos);
  }
  if (defaults.bos && !json.is_null("bos_token_id")) {
    m.set_bos_token(json.integer("bos_token_id", *defaults.bos));
  }
}

void read_positions(const ConfigReader& json, const PositionDefaults& defaults, Message& m) {
  m.set_rms_norm_eps(positive(json, "rms_norm_eps", defaults.eps));
  m.set_max_context(json.integer("max_position_embeddings", defaults.context));
  const ConfigReader scaling = json.is_object("rope_parameters") ? json.object("rope_parameters")
                                                                 : json.object("rope_scaling");
  m.set_rope_theta(positive(scaling, "rope_theta", positive(json, "rope_theta", defaults.theta)));
  const double share = positive(scaling, "partial_rotary_factor",
                                positive(json, "partial_rotary_factor", defaults.rotary));
  const auto whole = static_cast<double>(m.head_dim());
  if (share < 1 && m.qk_rope_head_dim() == 0) {
    m.set_rotary_dim(static_cast<std::int64_t>(whole * share));
  }
  read_scaling(json, scaling, m);
  read_ends(json, defaults, m);
}
}  // namespace switchyard::runtime::config
