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
// The guest is hostile: nothing read from it is used as an index or a length without
// a bound. And the guest must continue to run: Detach removes every trap, answers
// every event and ends every single step.
//
// A session's parts are types of their own, each tested without a session: source
// (where events come from), budget (how often a trap may stop a vCPU), livelock (does
// the monitor itself hold the guest up), and alarms (what was reported, and when).
package monitor
