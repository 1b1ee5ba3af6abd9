// Package monitor watches one guest from outside and says when it hangs.
//
// A Session attaches to a guest through a Driver (monitor/driver/xenctrl or
// libvmi), arms one trap.Mechanism, and runs an event loop in one goroutine:
//
//	Driver ──events──▶ Session ──Observation──▶ Detector ──▶ Verdict
//	          ▲            │
//	          └─responses──┘
//
// The mechanism (package trap) is how the monitor learns that the guest's scheduler
// still switches tasks. The Detector (package detect) is a pure function of
// observations and the same for every mechanism: two mechanisms differ only in the
// price of the signal. Package driver has the types of guests and events that all of
// them share. Package linux reads a Linux guest's memory.
//
// The guest is hostile: nothing read from it is used as an index or a length
// without a bound. And the guest must go on: Detach takes every trap back,
// answers every event and ends every single-step before it lets go.
package monitor
