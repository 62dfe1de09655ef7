// Updates worked out by hand in double, state by name. Against torch.optim:
// tests/python/train_gradient_test.py.
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace precis::train {
namespace {

at::Tensor values(std::vector<double> numbers, at::IntArrayRef shape) {
  return at::tensor(numbers).to(at::kDouble).view(shape);
}

NamedTensors two_parameters() {
  return {{"a.weight", values({1.0, -2.0}, {1, 2})}, {"a.bias", values({0.5, 3.0}, {2})}};
}

void set_gradients(const NamedTensors& parameters, double first, double second) {
  parameters[0].second.grad().fill_(first);
  parameters[1].second.grad().fill_(second);
}

double element(const at::Tensor& tensor, int64_t i) { return tensor.reshape({-1})[i].item<double>(); }

TEST(Optimizer, SgdSubtractsTheGradient) {
  const NamedTensors parameters = two_parameters();
  Optimizer optimizer(parameters, {.name = OptimizerName::kSgd, .weight_decay = 0.5});
  set_gradients(parameters, 0.25, -4.0);
  optimizer.step(1.0);
  EXPECT_EQ(element(parameters[0].second, 0), 0.75);
  EXPECT_EQ(element(parameters[1].second, 1), 7.0);
  EXPECT_TRUE(optimizer.state().empty());
}

// One Adam run of a scalar from the paper's Algorithm 1; decay as in AdamW, before the update.
double adam(double w, const std::vector<double>& gradients, double rate, double decay) {
  double m = 0, v = 0;
  for (size_t t = 1; t <= gradients.size(); ++t) {
    const double g = gradients[t - 1];
    w -= rate * decay * w;
    m = 0.8 * m + 0.2 * g;
    v = 0.9 * v + 0.1 * g * g;
    const double m_hat = m / (1 - std::pow(0.8, t)), v_hat = v / (1 - std::pow(0.9, t));
    w -= rate * m_hat / (std::sqrt(v_hat) + 1e-6);
  }
  return w;
}

TEST(Optimizer, AdamAndAdamWFollowTheirDefinitionAndDecayMatricesAlone) {
  for (const bool decayed : {false, true}) {
    const NamedTensors parameters = two_parameters();
    Optimizer optimizer(parameters, {.name = decayed ? OptimizerName::kAdamW : OptimizerName::kAdam,
                                     .betas = {0.8, 0.9},
                                     .eps = 1e-6,
                                     .weight_decay = 0.1});
    for (int t = 0; t < 3; ++t) {
      set_gradients(parameters, 0.3 - 0.2 * t, 1.0 + t);
      optimizer.step(0.01);
    }
    // Rounding of a handful of operations in double.
    EXPECT_NEAR(element(parameters[0].second, 1), adam(-2.0, {0.3, 0.1, -0.1}, 0.01, decayed ? 0.1 : 0.0),
                1e-14);
    EXPECT_NEAR(element(parameters[1].second, 1), adam(3.0, {1, 2, 3}, 0.01, 0.0), 1e-14);
    EXPECT_EQ(optimizer.state().size(), 4u);
  }
}

TEST(Optimizer, NormsAndBiasesAreNotDecayed) {
  EXPECT_TRUE(decays("model.shared.weight", at::zeros({4, 2})));
  EXPECT_FALSE(decays("model.encoder.layers.0.fc1.bias", at::zeros({4})));
  EXPECT_FALSE(decays("model.encoder.layernorm_embedding.weight", at::zeros({4})));
}

TEST(Optimizer, NormAndClippingAreThoseOfAllParametersTogether) {
  const NamedTensors parameters = two_parameters();
  Optimizer optimizer(parameters, {.name = OptimizerName::kSgd});
  set_gradients(parameters, 1.0, 7.0);
  const double norm = gradient_norm(parameters);
  EXPECT_DOUBLE_EQ(norm, 10.0);
  clip_gradients(parameters, norm, 20.0);
  EXPECT_EQ(element(parameters[1].second.grad(), 0), 7.0);
  clip_gradients(parameters, norm, 5.0);
  EXPECT_DOUBLE_EQ(element(parameters[1].second.grad(), 0), 7.0 * 5.0 / (10.0 + 1e-6));
  parameters[0].second.grad().fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(std::isfinite(gradient_norm(parameters)));
}

TEST(Optimizer, StateByNameContinuesBitForBit) {
  const OptimizerOptions options{.name = OptimizerName::kAdamW};
  const NamedTensors parameters = two_parameters();
  Optimizer straight(parameters, options);
  set_gradients(parameters, 0.3, -0.7);
  straight.step(0.01);

  NamedTensors copies;
  for (const auto& [name, parameter] : parameters) copies.emplace_back(name, parameter.clone());
  Optimizer resumed(copies, options);
  NamedTensors reversed;
  for (const auto& [name, tensor] : straight.state())
    reversed.insert(reversed.begin(), {name, tensor.clone()});
  resumed.load_state(reversed, straight.steps(), "optimizer.safetensors");

  set_gradients(parameters, 0.1, 0.2);
  set_gradients(copies, 0.1, 0.2);
  straight.step(0.02);
  resumed.step(0.02);
  for (size_t i = 0; i < copies.size(); ++i) EXPECT_TRUE(at::equal(copies[i].second, parameters[i].second));
}

TEST(Optimizer, StateOfAnotherModelIsRefusedByName) {
  const NamedTensors parameters = two_parameters();
  Optimizer optimizer(parameters, {});
  const auto message = [&](const NamedTensors& state) -> std::string {
    try {
      optimizer.load_state(state, 1, "here");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kModel);
      return error.what();
    }
    return "";
  };
  NamedTensors missing = optimizer.state();
  missing.erase(missing.begin());
  EXPECT_NE(message(missing).find("a.weight.exp_avg"), std::string::npos);
  NamedTensors unknown = optimizer.state();
  unknown.emplace_back("b.exp_avg", at::zeros({1}));
  EXPECT_NE(message(unknown).find("b.exp_avg"), std::string::npos);
  NamedTensors reshaped = optimizer.state();
  reshaped[0].second = at::zeros({3}, at::kDouble);
  EXPECT_NE(message(reshaped).find("a.weight.exp_avg"), std::string::npos);
}

}  // namespace
}  // namespace precis::train
