// tests · a client and a server that talk through http1_exchange.h, without sockets: their bytes come in random pieces.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Talk {
  struct Answer {
    std::string text;
    bool ends = false;   // the server ends its connection behind it
    bool early = false;  // said when the request's head has come to the server, not when its body has ended
  };
  uint32_t seed = 0;  // of the pieces
  std::string
      verdicts;        // a `1` for each request that is forwarded; others, and those behind them, are refused
  std::string client;  // all that the client says
  bool client_ends = false;
  std::vector<Answer> answers;  // each is said when another request has come to the server
};

// Heads as they were written; payload as it came, and a `|` behind each message.
struct Heard {
  std::string by_server, by_client;
  // open, finish, abort, or closes: the client's connection ends behind what it has heard.
  std::string end = "open";
};

// Aborts the process when a step breaks what its header says.
Heard HoldTalk(const Talk& talk);
