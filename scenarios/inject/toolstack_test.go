package inject

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
)

// TestToolstack: each fault of the toolstack is in place when it returns, and is undone.
func TestToolstack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault   Fault
		did     []string  // commands
		uses    Resources // with the fault in place
		undone  []string
		outside bool
		away    bool
		ends    bool
	}{
		"vcpus": {Unplugged(1), []string{"vcpus 1"}, Resources{1, fakeMemory}, []string{"vcpus 0"}, false, false, false},
		"memory": {Ballooned(96), []string{"memory 96"}, Resources{2, 96 << 20}, []string{"memory 0"}, false, false,
			false},
		"checkpoint": {Checkpointed(), []string{"checkpoint"}, Resources{2, fakeMemory}, nil, false, false, false},
		"save": {Saved(time.Hour), []string{"save"}, Resources{2, fakeMemory}, []string{"restore 1h0m0s"}, true, true,
			false},
		"poweroff": {EndedBy(PowerOff), []string{"end poweroff"}, Resources{2, fakeMemory}, nil, false, false, true},
		"cap dom0": {CappedControl(10), []string{"cap-dom0 10"}, Resources{2, fakeMemory}, []string{"cap-dom0 0"}, true,
			false, false},
		"fill dom0": {FilledControl(16), []string{"fill-dom0 16"}, Resources{2, fakeMemory}, []string{"fill-dom0 0"}, true,
			false, false},
		"builds": {OthersBuilt(), []string{"build true"}, Resources{2, fakeMemory}, []string{"build false"}, true, false,
			false},
		"disk": {FailDisk(), []string{"fail-disk true"}, Resources{2, fakeMemory}, []string{"fail-disk false"}, true, false,
			false},
	} {
		g := newFake()
		in, err := tc.fault(t.Context(), g)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// Memory is given back page by page: it counts from 2 MiB above.
		near := g.tools.uses.Memory >= tc.uses.Memory && g.tools.uses.Memory <= tc.uses.Memory+2<<20
		if !slices.Equal(g.tools.did, tc.did) || g.tools.uses.VCPUs != tc.uses.VCPUs || !near || in.Outside != tc.outside ||
			in.Away != tc.away || in.Ends != tc.ends || in.What == "" {
			t.Errorf("%s: %q, %+v, %+v", name, g.tools.did, g.tools.uses, in)
		}
		g.tools.did = nil
		if err := in.Remove(t.Context()); err != nil || !slices.Equal(g.tools.did, tc.undone) ||
			g.tools.uses.VCPUs != 2 || g.tools.uses.Memory+2<<20 < fakeMemory {
			t.Errorf("%s removed: %v, %q, %+v", name, err, g.tools.did, g.tools.uses)
		}
	}
}

// TestOffline: PID 1 takes a vCPU offline, and the fault is in place when Xen counts one
// less.
func TestOffline(t *testing.T) {
	t.Parallel()
	g := newFake()
	in, err := Offline()(t.Context(), g)
	if err != nil || g.tools.uses.VCPUs != 1 || !slices.Equal(g.asked, []beat.Request{beat.Offline}) || !in.Asked {
		t.Fatalf("%v, %+v, asked for %q", err, g.tools.uses, g.asked)
	}
	if err := in.Remove(t.Context()); err != nil || g.tools.uses.VCPUs != 2 || g.asked[1] != beat.Online {
		t.Errorf("%v, %+v, asked for %q", err, g.tools.uses, g.asked)
	}
}

// TestDeafGuest: a guest that does not do what it is asked to is waited for, and the request
// is taken back.
func TestDeafGuest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault Fault
		says  string
		back  string // the command that takes it back
	}{
		"vcpus":  {Unplugged(1), "use 1 vCPUs", "vcpus 0"},
		"memory": {Ballooned(96), "use 96 MiB", "memory 0"},
		"reboot": {EndedBy(Reboot), "reboot", "end reboot"},
		"ask":    {Offline(), "use 1 vCPUs", ""},
	} {
		g := newFake()
		g.tools.deaf = true
		_, err := tc.fault(t.Context(), g)
		last := ""
		if n := len(g.tools.did); n > 0 {
			last = g.tools.did[n-1]
		}
		if !errors.Is(err, ErrDeaf) || !strings.Contains(err.Error(), "within 30s: "+tc.says) || last != tc.back ||
			g.now < int64(followTime) || g.now > int64(followTime)+2*int64(followPoll) {
			t.Errorf("%s: %v after %d ms, last %q", name, err, g.now/1e6, last)
		}
		// It stops to follow when the fault is to be removed.
		g = newFake()
		in, err := tc.fault(t.Context(), g)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		g.tools.deaf = true
		if err := in.Remove(t.Context()); errors.Is(err, ErrDeaf) == in.Ends {
			t.Errorf("%s removed: %v", name, err)
		}
	}
}

// TestToolstackFails: an error of the toolstack is returned, and what the guest was asked for
// is taken back.
func TestToolstackFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("xl is broken")
	for word, fault := range map[string]Fault{
		"vcpus": Unplugged(1), "memory": Ballooned(96), "resources": Ballooned(96), "checkpoint": Checkpointed(),
		"save": Saved(0), "end": EndedBy(PowerOff), "ended": EndedBy(PowerOff), "cap-dom0": CappedControl(1),
		"fill-dom0": FilledControl(8), "build": OthersBuilt(), "fail-disk": FailDisk(),
	} {
		g := newFake()
		g.tools.fails = map[string]error{word: broken}
		if _, err := fault(t.Context(), g); !errors.Is(err, broken) {
			t.Errorf("%s: %v", word, err)
		}
	}
	g := newFake()
	g.tools.odd = "crash"
	if _, err := EndedBy(PowerOff)(t.Context(), g); err == nil || !strings.Contains(err.Error(), "has ended with crash") {
		t.Errorf("a crash is taken for the end that was asked for: %v", err)
	}
	for _, fault := range []Fault{Unplugged(2), Ballooned(160)} {
		g := newFake()
		if _, err := fault(t.Context(), g); err == nil || len(g.tools.did) > 0 {
			t.Errorf("nothing can be taken from the guest: %v, %q", err, g.tools.did)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	g = newFake()
	g.tools.deaf, g.onSleep = true, cancel
	if _, err := EndedBy(PowerOff)(ctx, g); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted trial goes on waiting: %v", err)
	}
}
