#include "fathom/model/sampling/options.h"

#include <cmath>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

std::string message_of(const std::function<void(SamplingOptions&)>& change) {
  SamplingOptions options;
  change(options);
  try {
    validate(options, 100);
  } catch (const Error& error) {
    return error.code() == ErrorCode::InvalidArgument ? error.what() : "wrong code";
  }
  return "";
}

TEST(SamplingOptions, DefaultsAndLimitsAreValid) {
  EXPECT_EQ(message_of([](SamplingOptions&) {}), "");
  EXPECT_EQ(message_of([](SamplingOptions& options) {
              options.temperature = 0;
              options.top_p = 1e-9;
              options.min_p = 1;
              options.logit_bias = {{99, -100}, {0, 100}};
              options.num_top_logprobs = 128;
            }),
            "");
}

TEST(SamplingOptions, ErrorsNameTheFieldAndTheValue) {
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.temperature = -1; }),
            "temperature: expected a number from 0 to 100, found -1");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.top_k = -3; }),
            "top_k: expected a count, or 0 for no limit, found -3");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.top_p = 0; }),
            "top_p: expected a number above 0 and at most 1, found 0");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.min_p = 1.5; }),
            "min_p: expected a number from 0 to 1, found 1.5");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.typical_p = -0.5; }),
            "typical_p: expected a number above 0 and at most 1, found -0.5");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.repetition_penalty = 0; }),
            "repetition_penalty: expected a number above 0 and at most 100, found 0");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.presence_penalty = 3; }),
            "presence_penalty: expected a number from -2 to 2, found 3");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.frequency_penalty = -3; }),
            "frequency_penalty: expected a number from -2 to 2, found -3");
  EXPECT_EQ(message_of([](SamplingOptions& options) {
              options.logit_bias = {{100, 1}};
            }),
            "logit_bias: token id 100 is outside the vocabulary of 100");
  EXPECT_EQ(message_of([](SamplingOptions& options) {
              options.logit_bias = {{1, 101}};
            }),
            "logit_bias: expected a number from -100 to 100, found 101");
  EXPECT_EQ(message_of([](SamplingOptions& options) { options.num_top_logprobs = 129; }),
            "top_logprobs: expected 0 to 128, found 129");
}

TEST(SamplingOptions, NanIsRefusedInEveryField) {
  for (double SamplingOptions::*field :
       {&SamplingOptions::temperature, &SamplingOptions::top_p, &SamplingOptions::min_p,
        &SamplingOptions::typical_p, &SamplingOptions::repetition_penalty,
        &SamplingOptions::presence_penalty, &SamplingOptions::frequency_penalty}) {
    EXPECT_NE(message_of([&](SamplingOptions& options) { options.*field = std::nan(""); }), "");
  }
}

}  // namespace
}  // namespace fathom::sampling
