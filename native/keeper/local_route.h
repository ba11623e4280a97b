// keeper · what lets the agent dial an application from the client's address, inside the pod's namespace:
// packets with our mark take a table whose routes say "local", and accepted sockets inherit the mark
// (net.ipv4.tcp_fwmark_accept; docs/reference/kernel.md). Raw rtnetlink and /proc/sys/net, both of which
// follow the calling thread's namespace. Idempotent both ways.
#pragma once

#include <string>

namespace orlop {

// The routes and the sysctls, and whether rules are to be had. 0, or -errno with the step that failed in `step`. A namespace without
// IPv6 is prepared for IPv4 alone.
int PrepareLocalDial(std::string* step);

// The rule of that family. It is added before the first socket to dial an application with is lent and not before: with any rule of
// its own a namespace asks all its rules for each route (fib_has_custom_rules of Linux), which costs every
// connection of a pod, and many pods are dialled by no agent. Called again, it heals what a program in the pod took away.
int RouteMarked(bool is_v6, std::string* step);

// Lets servers be dialled that are bound to a device (SO_BINDTODEVICE): a route for each device that has an address now. Called
// again for devices that come later; the kernel removes the route of a device that goes down. Where it fails, answers of
// such a server leave by its device, and the dial runs into its time-out.
void RouteDevices();

// Makes the addresses local at which captured connections meet the agent's listener (ORLOP_SPREAD4 or 6 of orlop_abi.h),
// by the family of `source`: an address of the pod, which the kernel gives there to a socket that has none. Called
// again, it puts the new source in the place of the old.
int RouteToListener(const std::string& source, std::string* step);

// Removes rules and routes of all kinds. The sysctls stay: without a marked packet they change nothing.
int UndoRoutes(std::string* step);

}  // namespace orlop
