package observe

import (
	"context"
	"fmt"

	"hangbench/bench/trial"
	"hangbench/guests/watchdog"
	"hangbench/scenarios/sign"
)

// endedByWatchdog is what Guest.Ended says of a guest that Xen's watchdog has ended.
const endedByWatchdog = "watchdog"

// Xen is Xen's domain watchdog. It does not report: it ends the guest. The guest's PID
// 1 arms it together with Linux's watchdogs, and says so in the same line.
type Xen struct {
	Linux *Linux // attached before

	subject trial.Subject
	awaited bool  // a fault stays until it has fired
	ended   int64 // when it was seen to have ended the guest, or 0
}

// Name is xen.
func (x *Xen) Name() string { return "xen" }

// Attach takes note of the guest. PID 1 has armed the watchdog already.
func (x *Xen) Attach(_ context.Context, s trial.Subject) error {
	x.subject, x.awaited, x.ended = s, false, 0
	return nil
}

// Poll asks whether the watchdog has ended the guest, once there is a fault.
func (x *Xen) Poll(t0 int64) error {
	if x.Linux.armed[watchdog.Xen] == 0 || x.ended != 0 || t0 == 0 {
		return nil
	}
	how, err := x.subject.Guest.Ended()
	if err != nil {
		return fmt.Errorf("ask whether Xen's watchdog has fired: %w", err)
	}
	if how == endedByWatchdog {
		x.ended = x.subject.Clock.Now()
	}
	return nil
}

// Reports has one report if the watchdog has ended the guest.
func (x *Xen) Reports() []trial.Report {
	if x.ended == 0 {
		return nil
	}
	return []trial.Report{{
		Guard: string(watchdog.Xen), AtNS: x.ended, SeenNS: x.ended, VCPU: -1, Text: "domain ended: watchdog",
	}}
}

// Guards is the one watchdog.
func (x *Xen) Guards() []trial.Guard { return []trial.Guard{x.Linux.guard(watchdog.Xen)} }

// Await gives the watchdog its time. A guest that ends by itself is not awaited.
func (x *Xen) Await(_, t0 int64, e sign.Effects) (until int64) {
	g := x.Linux.guard(watchdog.Xen)
	x.awaited = g.Armed && !e.GuestEnds
	if !x.awaited {
		return 0
	}
	return t0 + g.ToNS
}

// Complete reports whether the watchdog has ended the guest, or is not awaited.
func (x *Xen) Complete() bool { return !x.awaited || x.Destroyed() }

// Destroyed reports whether the watchdog has ended the guest.
func (x *Xen) Destroyed() bool { return x.ended != 0 }

// Detach does nothing: the guest ends with the trial.
func (x *Xen) Detach(context.Context) (trial.Counts, error) { return trial.Counts{}, nil }
