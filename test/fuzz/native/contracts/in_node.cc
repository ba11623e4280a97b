// fuzz · contracts · a contract that is loaded into Node, so that it judges the OpenSSL of Node. Its `main` is compiled as RunContract.
#include <node_api.h>

#include <cstdio>

int RunContract();

NAPI_MODULE_INIT() {
  if (RunContract() != 0) napi_throw_error(env, nullptr, "the contract does not hold");
  fflush(stdout);
  return exports;
}
