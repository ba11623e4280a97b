// fuzz · watches every nonce that the code under test seals with.
#pragma once

namespace orlop::fuzz {

// Of the inputs before.
void ForgetNonces();

}  // namespace orlop::fuzz
