// any thread · at load time: a check that all functions come from the libraries that they were tested with.
#pragma once

#include <string>

namespace orlop {

// Empty, or why this process must not use the addon. nghttp2 is the copy inside of Node, which Node does not promise to export;
// parts of two versions together would corrupt memory.
std::string CheckSymbols();

}  // namespace orlop
