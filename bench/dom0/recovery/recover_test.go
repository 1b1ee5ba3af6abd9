package recovery

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/guests/beat"
	"hangbench/monitor/trap"
)

// die leaves a guest as a monitor with the mechanism exec-step leaves it that dies:
// ring, trap, patched byte, added frame and a pause, with its journal.
func die(t *testing.T, h *Host, g *xentest.Guest) {
	t.Helper()
	dom := h.Xen.Domain(g.ID())
	m, err := dom.EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{m.SingleStep(true), dom.SetMemAccess(trapped, 1, xc.AccessRW), dom.AddFrame(100),
		dom.Pause()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.Write(7<<12, []byte{0xcc})
	writeJournal(t, h, g, trap.Changes{Mechanism: "exec-step", PID: os.Getpid(), Start: 1, Restricted: []uint64{trapped},
		Added: []uint64{100}, Patched: []trap.Patch{{GPA: 7 << 12, Original: []byte{0x90}, Patched: []byte{0xcc}}}})
}

// writeJournal writes the journal of a guest.
func writeJournal(t *testing.T, h *Host, g *xentest.Guest, c trap.Changes) {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Store.Write(journalPath(int(g.ID())), text); err != nil {
		t.Fatal(err)
	}
}

// TestRecover: everything that a dead monitor left is undone, and its journal is
// removed.
func TestRecover(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	g.Page(7)[0] = 0x90
	program(g)
	die(t, h, g)
	if err := g.Clean(); err == nil {
		t.Fatal("nothing was left behind: the test tests nothing")
	}
	r, err := h.Recover(int(g.ID()), false)
	if err != nil {
		t.Fatal(err)
	}
	want := Recovered{Domain: int(g.ID()), Journal: JournalDead, Mechanism: "exec-step", PID: os.Getpid(), RingOn: true,
		Restricted: 1, BytesPatched: 1, FramesRemoved: 1, Pauses: 1,
		RingFree: true, Altp2mOff: true, NotStepping: true, NoTrap: true, NotPaused: true}
	if r != want || !r.OK() {
		t.Errorf("%+v, want %+v", r, want)
	}
	if err := g.Clean(); err != nil {
		t.Error(err)
	}
	if b := g.Page(7)[0]; b != 0x90 {
		t.Errorf("the patched byte is %#x", b)
	}
	if _, err := h.journalOf(int(g.ID())); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("the journal afterwards: %v", err)
	}
	// Once more it is harmless.
	if r, err = h.Recover(int(g.ID()), false); err != nil || !r.OK() || r.Journal != JournalNone || r.RingOn {
		t.Errorf("once more: %+v, %v", r, err)
	}
}

// TestRecoverPausedByOthers: a pause that was there before the monitor stays.
func TestRecoverPausedByOthers(t *testing.T) {
	t.Parallel()
	fake, g, h := newHost(t)
	if err := h.Xen.Domain(g.ID()).Pause(); err != nil {
		t.Fatal(err)
	}
	writeJournal(t, h, g, trap.Changes{Mechanism: "poll", PID: os.Getpid(), Start: 1, Paused: true})
	r, err := h.Recover(int(g.ID()), false)
	if err != nil || r.NotPaused || !r.PausedByOthers || !r.OK() || g.Paused() != 1 {
		t.Errorf("%+v, %d pauses, %v", r, g.Paused(), err)
	}
	// One that is not paused was not paused by others.
	other := fake.NewGuest(xentest.GuestConfig{Name: "other"})
	writeJournal(t, h, other, trap.Changes{Mechanism: "poll", PID: os.Getpid(), Start: 1, Paused: true})
	if r, err = h.Recover(int(other.ID()), false); err != nil || !r.NotPaused || r.PausedByOthers {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRecoverDamaged: a journal that makes no sense does not keep the guest from
// being recovered.
func TestRecoverDamaged(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	if err := h.Store.Write(journalPath(int(g.ID())), "?"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Xen.Domain(g.ID()).EnableMonitor(); err != nil {
		t.Fatal(err)
	}
	r, err := h.Recover(int(g.ID()), false)
	if err != nil || r.Journal != JournalDamaged || !r.RingOn || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := h.journalOf(int(g.ID())); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("the journal afterwards: %v", err)
	}
}

func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	fake, g, h := newHost(t)
	pv := fake.NewGuest(xentest.GuestConfig{Name: "pv", PV: true})
	if _, err := h.Recover(int(pv.ID()), true); err == nil {
		t.Error("a PV guest was recovered")
	}
	if _, err := h.Recover(999, true); !errors.Is(err, xc.ErrNoDomain) {
		t.Errorf("no domain: %v", err)
	}
	fake.Fail("xs_read", unix.EIO, 1)
	if _, err := h.Recover(int(g.ID()), true); !errors.Is(err, unix.EIO) {
		t.Errorf("a journal that cannot be read: %v", err)
	}
	// Foreign, and forced.
	if _, err := h.Xen.Domain(g.ID()).EnableMonitor(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Recover(int(g.ID()), false); !errors.Is(err, ErrForeign) {
		t.Errorf("a monitor without a journal: %v", err)
	}
	if r, err := h.Recover(int(g.ID()), true); err != nil || !r.RingOn || !r.OK() {
		t.Errorf("forced: %+v, %v", r, err)
	}
}

// TestRecoverDead: of all domains only those of dead monitors are touched.
func TestRecoverDead(t *testing.T) {
	t.Parallel()
	fake, dead, h := newHost(t)
	dead.Page(7)[0] = 0x90
	die(t, h, dead)
	fake.NewGuest(xentest.GuestConfig{Name: "pv", PV: true})
	fake.NewGuest(xentest.GuestConfig{Name: "untouched"})
	living := fake.NewGuest(xentest.GuestConfig{Name: "living"})
	j, err := h.beginJournal(int(living.ID()), "poll")
	if err != nil {
		t.Fatal(err)
	}
	defer j.end(true)
	all, err := h.RecoverDead()
	if err != nil || len(all) != 1 || all[0].Domain != int(dead.ID()) || !all[0].OK() {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := h.journalOf(int(living.ID())); err != nil {
		t.Errorf("the journal of the living monitor: %v", err)
	}
	ids, err := h.Watchable()
	if err != nil || len(ids) != 3 || slices.Contains(ids, 0) {
		t.Errorf("watchable: %v, %v", ids, err)
	}
	// A guest that cannot be recovered is an error, and the others are recovered.
	die2 := fake.NewGuest(xentest.GuestConfig{Name: "stubborn", Pages: 64})
	die2.Page(7)[0] = 0x90
	die(t, h, die2)
	fake.Fail("xc_monitor_disable", unix.EIO, 1000)
	if all, err = h.RecoverDead(); err == nil {
		t.Errorf("a guest whose ring stays is recovered: %+v", all)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	for _, name := range []string{"guest", "1"} {
		if id, err := h.Find(name); err != nil || id != int(g.ID()) {
			t.Errorf("%s: domain %d, %v", name, id, err)
		}
	}
	for _, name := range []string{"nobody", "77", ""} {
		if _, err := h.Find(name); !errors.Is(err, xc.ErrNoDomain) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// beating gives the guest a heartbeat page that beats, works and obeys by itself.
func beating(t *testing.T, h *Host, g *xentest.Guest) {
	t.Helper()
	page, err := beat.New(g.Page(9))
	if err != nil {
		t.Fatal(err)
	}
	page.Init()
	if err := h.Store.Write(xc.DomainPath(g.ID())+"/"+beat.Node, beat.Announcement{GFN: 9, CPUs: 2,
		Release: "6.12-test"}.String()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		g.VCPU(i).SetProgram(true, xentest.Instruction{RIP: 0xffffffff81003000, GPA: 3 << 12, Do: func(*xc.Registers) {
			page.SetActive(page.Wanted())
			page.Beat(i)
			if page.Wanted() == beat.Busy.Name {
				page.Work(i)
			}
		}})
	}
	t.Cleanup(g.Start(4))
}

// messages is a slog.Handler that keeps the messages, and may do something on each.
type messages struct {
	all  []string
	then func()
}

func (m *messages) Enabled(context.Context, slog.Level) bool { return true }
func (m *messages) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m *messages) WithGroup(string) slog.Handler            { return m }
func (m *messages) Handle(_ context.Context, r slog.Record) error {
	m.all = append(m.all, r.Message)
	if m.then != nil {
		m.then()
	}
	return nil
}

// TestKill: monitors are killed and their guest is recovered. The monitors are
// processes of TestKillOne, which touch no guest.
func TestKill(t *testing.T) {
	t.Setenv("HANGBENCH_TEST_KILL", "detaches")
	fake, g, h := newHost(t)
	if _, err := h.Kill(t.Context(), int(g.ID()), KillJob{"exec-step", "KILL", 1}, nil, nil); !errors.Is(err,
		xc.ErrNotExist) {
		t.Errorf("a guest without a heartbeat: %v", err)
	}
	beating(t, h, g)
	watch := []string{os.Args[0], "-test.run", "^TestKillOne$"}
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Second)
	defer cancel()
	steps := &messages{}
	log := slog.New(steps)
	for _, job := range []KillJob{{"exec-step", "KILL", 2}, {"exec-step", "TERM", 1}, {"none", "KILL", 1}} {
		kills, err := h.Kill(ctx, int(g.ID()), job, watch, log)
		if err != nil || len(kills) != job.Seeds {
			t.Fatalf("%+v: %+v, %v", job, kills, err)
		}
		for i, k := range kills {
			if !k.OK() || k.Mechanism != job.Mechanism || k.Signal != job.Signal || k.Seed != uint64(i+1) || k.Early {
				t.Errorf("%+v: %+v", job, k)
			}
			if watches := job.Mechanism != "none"; watches != (k.AfterUS > 0) {
				t.Errorf("%+v: killed after %d us", job, k.AfterUS)
			}
		}
	}
	if len(steps.all) != 4 || steps.all[1] != "kill exec-step, seed 2" {
		t.Errorf("steps %q", steps.all)
	}
	// One of four kills comes while the monitor attaches: once it has begun its journal.
	early := slog.New(&messages{then: func() {
		writeJournal(t, h, g, trap.Changes{Mechanism: "cr3", PID: os.Getpid(), Start: 1})
	}})
	kills, err := h.Kill(ctx, int(g.ID()), KillJob{"cr3", "KILL", 4}, watch, early)
	if err != nil || len(kills) != 4 {
		t.Fatalf("%+v, %v", kills, err)
	}
	for i, k := range kills {
		if !k.OK() || k.Early != (i == 3) || k.Recovered.Journal != JournalDead ||
			k.Early && k.AfterUS >= earlySpan.Microseconds() {
			t.Errorf("%+v", k)
		}
	}
	for _, job := range []KillJob{{"magic", "KILL", 1}, {"exec-step", "HUP", 1}} {
		if _, err := h.Kill(ctx, int(g.ID()), job, watch, log); err == nil {
			t.Errorf("%+v: no error", job)
		}
	}
	// A guest that is not recovered ends it after the first kill.
	broken := slog.New(&messages{then: func() { fake.Fail("xc_domain_getinfo_single", unix.EIO, 1<<20) }})
	kills, err = h.Kill(ctx, int(g.ID()), KillJob{"exec-step", "KILL", 3}, watch, broken)
	if err != nil || len(kills) != 1 || kills[0].OK() || kills[0].Error == "" {
		t.Errorf("a guest that cannot be recovered: %+v, %v", kills, err)
	}
}
