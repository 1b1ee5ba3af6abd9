package dom0cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/dom0test"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
	"hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// lines collects the lines of a watch and calls itself with each.
type lines struct {
	mu   sync.Mutex
	all  []watchLine
	each func(watchLine)
}

func (l *lines) Write(b []byte) (int, error) {
	var line watchLine
	if err := json.Unmarshal(b, &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.all = append(l.all, line)
	l.mu.Unlock()
	if l.each != nil {
		l.each(line)
	}
	return len(b), nil
}

// events names the events of the lines.
func (l *lines) events() string {
	var names []string
	for _, line := range l.all {
		names = append(names, line.Event)
	}
	return strings.Join(names, " ")
}

// watch runs a watch of the guest with JSON output.
func watch(t *testing.T, ctx context.Context, f *dom0test.Fake, domain string, out io.Writer, args ...string) error {
	t.Helper()
	var w Watch
	flags := pflag.NewFlagSet("watch", pflag.ContinueOnError)
	w.AddFlags(flags)
	if err := flags.Parse(append([]string{"--json"}, args...)); err != nil {
		t.Fatal(err)
	}
	m, err := w.check()
	if err != nil {
		t.Fatal(err)
	}
	return w.watch(ctx, f.Host, m, domain, out, io.Discard)
}

// TestWatchGuest: a watch says that it is attached and what it has counted, and leaves
// the guest as it was, however it ends.
func TestWatchGuest(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	var out lines
	if err := watch(t, t.Context(), f, "guest", &out, "--mechanism", "exec-step", "--duration", "500ms"); err != nil {
		t.Fatal(err)
	}
	if out.events() != "attached detached" {
		t.Errorf("events %s", out.events())
	}
	first, last := out.all[0], out.all[1]
	if first.Domain != int(g.ID()) || first.Mechanism != "exec-step" || first.Kernel != dom0test.Release ||
		first.KernelFrom != kernelFile || first.Memory != nil || len(first.Unjudged) == 0 {
		t.Errorf("%+v", first)
	}
	if last.Counters == nil || last.Counters.Signals == 0 || last.MS < 400 {
		t.Errorf("%+v, counters %+v", last, last.Counters)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
	// Nobody reads its output: it detaches and reports that.
	closed := errors.New("the reader has gone")
	r, w := io.Pipe()
	r.CloseWithError(closed)
	if err := watch(t, t.Context(), f, "guest", w); !errors.Is(err, closed) {
		t.Errorf("no reader: %v", err)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestWatchHang: a hang is printed with its evidence.
func TestWatchHang(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := lines{each: func(l watchLine) {
		switch l.Event {
		case "attached":
			g.Shutdown(xenctrl.ShutdownCrash)
		case "verdict":
			cancel()
		}
	}}
	if err := watch(t, ctx, f, "guest", &out); err != nil {
		t.Fatal(err)
	}
	if out.events() != "attached verdict detached" || out.all[1].Class != "panic" || len(out.all[1].Evidence) == 0 {
		t.Errorf("%+v", out.all)
	}
}

// TestWatchGone: a guest that is destroyed ends the watch without an error.
func TestWatchGone(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	out := lines{each: func(l watchLine) {
		if l.Event == "attached" {
			if err := f.Destroy(int(g.ID())); err != nil {
				t.Error(err)
			}
		}
	}}
	if err := watch(t, t.Context(), f, "guest", &out); err != nil {
		t.Fatal(err)
	}
	if out.events() != "attached gone detached" {
		t.Errorf("events %s", out.events())
	}
}

// TestWatchDies: a guest that is destroyed before any call of the monitor ends the watch,
// and leaves no mapping. Once the monitor is attached that is no error.
func TestWatchDies(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"poll", "cr3", "exec-altp2m", "int3-step"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			for n, attached := 1, 0; attached < 20; n++ {
				f := dom0test.New(t)
				g := f.Start(t, "guest")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				f.Hypervisor.Before(n, g.Destroy)
				var out lines
				err := watch(t, ctx, f, "guest", &out, "--mechanism", mechanism, "--sample", "10ms")
				switch events := out.events(); {
				case ctx.Err() != nil:
					t.Fatalf("call %d: it has not ended: %s, %v", n, events, err)
				case events == "attached gone detached" && err == nil:
					attached++
				case events != "" || err == nil || errors.Is(err, dom0.ErrNoProfile):
					t.Errorf("call %d: %s, %v", n, events, err)
				}
				cancel()
				if left := f.Hypervisor.Mappings(); left != 0 {
					t.Errorf("call %d: %d mappings are left", n, left)
				}
				if n > 500 {
					t.Fatalf("%d calls, and it is not attached", n)
				}
			}
		})
	}
}

// TestWatchRefuses: a guest that is not there, one of an unknown kernel, and one with a
// monitor are the user's mistakes.
func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	out := lines{each: func(l watchLine) {
		if l.Event != "attached" {
			return
		}
		defer cancel()
		if err := watch(t, t.Context(), f, "guest", io.Discard); exit.Status(t.Context(), err) != exit.Usage ||
			!strings.Contains(err.Error(), "a monitor is attached") {
			t.Errorf("a second monitor: %v", err)
		}
	}}
	if err := watch(t, ctx, f, "guest", &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		domain string
		args   []string
		want   string
	}{
		{"nobody", nil, "no such domain"},
		{"guest", []string{"--kernel", os.DevNull}, "kernel"},
	} {
		err := watch(t, t.Context(), f, c.domain, io.Discard, c.args...)
		if exit.Status(t.Context(), err) != exit.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want a usage error with %q", c.domain, c.args, err, c.want)
		}
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// old is the hypervisor of guests that have run for an hour. It calls a function with each
// mapping of guest memory.
type old struct {
	xenctrl.Hypervisor
	mapped func()
}

func (o old) Domain(d xenctrl.DomID) (xenctrl.DomainInfo, error) {
	info, err := o.Hypervisor.Domain(d)
	info.CPUTimeNS = uint64(time.Hour)
	return info, err
}

func (o old) MapForeign(d xenctrl.DomID, p xenctrl.Prot, gfns []uint64, errs []int32) ([]byte, error) {
	o.mapped()
	return o.Hypervisor.MapForeign(d, p, gfns, errs)
}

// TestWatchInterrupted: an interrupt while the guest's kernel is read, from its memory or
// from a file, is an interrupt, and the guest's memory is mapped no more.
func TestWatchInterrupted(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	f.Config.Guests = t.TempDir() // no kernel is known
	ctx, cancel := context.WithCancel(t.Context())
	const last = 10 // of the image: its page tables lie in few chunks
	maps := 0
	f.Xen = xenctrl.New(old{f.Hypervisor.Hypervisor(), func() {
		if maps++; maps == last {
			cancel()
		}
	}})
	err := watch(t, ctx, f, "guest", io.Discard)
	if exit.Status(ctx, err) != exit.Interrupted || !errors.Is(err, context.Canceled) || maps > last {
		t.Errorf("in its memory: %d mappings, %v", maps, err)
	}
	err = watch(t, ctx, f, "guest", io.Discard, "--kernel", os.DevNull)
	if exit.Status(ctx, err) != exit.Interrupted || !errors.Is(err, context.Canceled) {
		t.Errorf("in a file: %v", err)
	}
	if n := f.Hypervisor.Mappings(); n != 0 {
		t.Errorf("%d mappings are left", n)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
}

// TestWatchCannotDetach: a monitor that cannot be detached is an error, although the user
// has ended the watch.
func TestWatchCannotDetach(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	f.Start(t, "guest")
	ctx, cancel := context.WithCancel(t.Context())
	out := lines{each: func(l watchLine) {
		if l.Event == "attached" {
			f.Hypervisor.Fail("xc_monitor_disable", 5, 1<<20)
			cancel()
		}
	}}
	err := watch(t, ctx, f, "guest", &out, "--mechanism", "cr3")
	var watched WatchedError
	if !errors.As(err, &watched) || !errors.Is(err, syscall.EIO) || errors.Is(err, context.Canceled) {
		t.Errorf("events %s, %v", out.events(), err)
	}
}

// TestRecoverGuests: a guest whose monitor died is recovered, by name and with --all.
func TestRecoverGuests(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := f.Start(t, "guest")
	die := func() {
		t.Helper()
		text, err := trap.Changes{Mechanism: "cr3", PID: os.Getpid(), Start: 1}.Text()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Store.Write(xenctrl.DomainPath(g.ID())+"/"+recovery.JournalNode, text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Xen.Domain(g.ID()).EnableMonitor(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		r    Recover
		args []string
	}{{Recover{}, []string{"guest"}}, {Recover{all: true}, nil}} {
		die()
		var out bytes.Buffer
		if err := c.r.recover(f.Host, c.args, &out); err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
		for _, want := range []string{"journal dead (cr3, process", "found: ring on", "ring free ok"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: the output lacks %q:\n%s", c.args, want, out.String())
			}
		}
		if err := g.Clean(); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Xen.Domain(g.ID()).EnableMonitor(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"guest", "nobody"} {
		if err := (&Recover{}).recover(f.Host, []string{name}, io.Discard); exit.Status(t.Context(), err) != exit.Usage {
			t.Errorf("%s with somebody else's monitor: %v", name, err)
		}
	}
	if err := (&Recover{force: true}).recover(f.Host, []string{"guest"}, io.Discard); err != nil {
		t.Errorf("forced: %v", err)
	}
	// One that cannot be recovered fails, and says what is left.
	die()
	f.Hypervisor.Fail("xc_monitor_disable", 5, 1<<20)
	var out bytes.Buffer
	err := (&Recover{json: true}).recover(f.Host, []string{"guest"}, &out)
	if err == nil {
		t.Errorf("a ring that stays: %s", out.String())
	}
}
