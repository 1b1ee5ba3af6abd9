// Package monitor watches one guest from outside and says when it hangs.
//
// A Session attaches to a guest through a Driver (monitor/driver/xenctrl or
// libvmi), arms one Mechanism, and runs an event loop in one goroutine:
//
//	Driver ──events──▶ Session ──Observation──▶ Detector ──▶ Verdict
//	          ▲            │
//	          └─responses──┘
//
// The mechanism is how the monitor learns that the scheduler of the guest still
// switches tasks: none, exec-step, exec-altp2m. The Detector is a pure function
// of observations, the same for every mechanism, so that only the price of the
// signal differs. Reading a Linux guest (page tables, kernel identity) is
// monitor/linux.
//
// The guest is hostile: nothing read from it is used as an index or a length
// without a bound. And the guest must go on: Detach takes every trap back,
// answers every event and ends every single-step before it lets go.
package monitor
