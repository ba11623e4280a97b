// any thread · at load time: do all functions come from the libraries they were tested with?
#pragma once

#include <string>

namespace orlop {

// Empty, or why this process must not use the addon. nghttp2 is borrowed from Node, which does not promise
// it; parts of two versions together would corrupt memory.
std::string CheckSymbols();

}  // namespace orlop
