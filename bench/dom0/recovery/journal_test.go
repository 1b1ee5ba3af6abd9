package recovery

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0/heartbeat"
	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/monitor/trap"
)

// newHost returns a fake Xen host with one guest, and its control domain.
func newHost(t *testing.T) (*xentest.Host, *xentest.Guest, *Host) {
	t.Helper()
	fake := xentest.NewHost(xentest.Config{})
	t.Cleanup(func() { fake.Close() })
	g := fake.NewGuest(xentest.GuestConfig{Name: "guest", Pages: 64, VCPUs: 2})
	return fake, g, &Host{Xen: fake.Xen(), Store: fake.Store(),
		OpenStore: func() (*xc.Store, error) { return fake.Store(), nil }}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	id := int(g.ID())
	if _, err := h.journalOf(id); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	j, err := h.beginJournal(id, "exec-step")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Write(trap.Changes{Mechanism: "exec-step", Restricted: []uint64{7}}); err != nil {
		t.Fatal(err)
	}
	if j.clear {
		t.Error("clear with a frame restricted")
	}
	_, start, err := processStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.journalOf(id)
	want := trap.Changes{Version: trap.ChangesVersion, Mechanism: "exec-step", Restricted: []uint64{7}, PID: os.Getpid(),
		Start: start}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	// This process lives: another session is refused.
	var attached *AttachedError
	if _, err := h.beginJournal(id, "cr3"); !errors.As(err, &attached) || attached.Changes.PID != os.Getpid() {
		t.Errorf("a second journal: %v", err)
	}
	// Cleared is not removed: the session may still have the ring and a pause.
	if err := j.Clear(); err != nil || !j.clear {
		t.Errorf("%v, clear %v", err, j.clear)
	}
	if got, err = h.journalOf(id); err != nil || len(got.Restricted) != 0 || got.PID != os.Getpid() {
		t.Errorf("cleared: %+v, %v", got, err)
	}
	if err := j.end(true); err != nil {
		t.Error(err)
	}
	if _, err := h.journalOf(id); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	// Without remove it stays, for whoever recovers the guest.
	if j, err = h.beginJournal(id, "cr3"); err != nil {
		t.Fatal(err)
	}
	if err := j.end(false); err != nil {
		t.Error(err)
	}
	if got, err := h.journalOf(id); err != nil || got.Mechanism != "cr3" {
		t.Errorf("kept: %+v, %v", got, err)
	}
}

// TestJournalPaused: a guest that somebody else has paused is noted as such.
func TestJournalPaused(t *testing.T) {
	t.Parallel()
	_, g, h := newHost(t)
	if err := h.Xen.Domain(g.ID()).Pause(); err != nil {
		t.Fatal(err)
	}
	j, err := h.beginJournal(int(g.ID()), "poll")
	if err != nil {
		t.Fatal(err)
	}
	defer j.end(true)
	if got, err := h.journalOf(int(g.ID())); err != nil || !got.Paused {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestJournalFailures(t *testing.T) {
	t.Parallel()
	fake, g, h := newHost(t)
	id := int(g.ID())
	j, err := h.beginJournal(id, "cr3")
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail("xs_write", unix.ENOSPC, 1)
	if err := j.Clear(); !errors.Is(err, unix.ENOSPC) || j.clear {
		t.Errorf("Clear: %v, clear %v", err, j.clear)
	}
	fake.Fail("xs_rm", unix.EACCES, 1)
	if err := j.end(true); !errors.Is(err, unix.EACCES) {
		t.Errorf("end: %v", err)
	}
	var damaged *damagedError
	for _, text := range []string{`{"version":1,"restricted":[-1]}`, "", "{}", strings.Repeat("[", 4000)} {
		if err := h.Store.Write(journalPath(id), text); err != nil {
			t.Fatal(err)
		}
		if _, err := h.journalOf(id); !errors.As(err, &damaged) {
			t.Errorf("journal %.40q: %v", text, err)
		}
		if _, err := h.beginJournal(id, "cr3"); !errors.As(err, &damaged) {
			t.Errorf("a session over journal %.40q: %v", text, err)
		}
	}
	// The journal of a dead process has to be recovered first.
	dead := trap.Changes{Mechanism: "cr3", PID: os.Getpid(), Start: 1}
	text, err := dead.Text()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Store.Write(journalPath(id), text); err != nil {
		t.Fatal(err)
	}
	if _, err := h.beginJournal(id, "cr3"); err == nil || !strings.Contains(err.Error(), "hangbench recover") {
		t.Errorf("a session over a dead one: %v", err)
	}
}

func TestAlive(t *testing.T) {
	_, start, err := processStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		c    trap.Changes
		want bool
	}{
		{"this process", trap.Changes{PID: os.Getpid(), Start: start}, true},
		{"start unknown", trap.Changes{PID: os.Getpid()}, true},
		{"another process of the same number", trap.Changes{PID: os.Getpid(), Start: start + 1}, false},
		{"ended", trap.Changes{PID: cmd.Process.Pid, Start: start}, false},
		{"no process", trap.Changes{}, false},
	} {
		if got := alive(c.c); got != c.want {
			t.Errorf("%s: alive %v", c.name, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	tail := strings.Repeat(" 0", 18) + " 4711 0 0\n"
	if state, start, err := parseStat("12 (a) Z) R) S" + tail); state != 'S' || start != 4711 || err != nil {
		t.Errorf("%c %d %v", state, start, err)
	}
	for _, bad := range []string{"", "12 (a) S 1 2", "12 (a) S" + strings.Replace(tail, "4711", "x", 1)} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestLeftover(t *testing.T) {
	c := trap.Changes{Restricted: []uint64{1}, Added: []uint64{2},
		Patched: []trap.Patch{{GPA: 3, Original: []byte{4}, Patched: []byte{5}}}}
	want := xc.Leftover{Restricted: []uint64{1}, Added: []uint64{2}, Unpause: true,
		Patched: []xc.Patched{{GPA: 3, Old: []byte{4}, By: []byte{5}}}}
	if got := leftover(c); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	// Somebody else paused it: that is not ours to take back.
	if got := leftover(trap.Changes{Paused: true}); got.Unpause {
		t.Errorf("%+v", got)
	}
}

func TestRecoveredOK(t *testing.T) {
	good := Recovered{RingFree: true, Altp2mOff: true, NotStepping: true, NoTrap: true, NotPaused: true}
	if !good.OK() {
		t.Error("a guest in order")
	}
	for name, spoil := range map[string]func(r *Recovered){
		"ring": func(r *Recovered) { r.RingFree = false }, "altp2m": func(r *Recovered) { r.Altp2mOff = false },
		"step": func(r *Recovered) { r.NotStepping = false }, "trap": func(r *Recovered) { r.NoTrap = false },
		"pause": func(r *Recovered) { r.NotPaused = false },
	} {
		r := good
		spoil(&r)
		if r.OK() {
			t.Errorf("%s left, and OK", name)
		}
		k := Killed{Signal: "KILL", Recovered: r, Beats: heartbeat.MinBeats, Work: 1}
		if k.OK() {
			t.Errorf("%s left, and the kill is OK", name)
		}
	}
	paused := good
	paused.NotPaused, paused.PausedByOthers = false, true
	if !paused.OK() {
		t.Error("paused by somebody else")
	}
	good.Journal = JournalDead
	if k := (Killed{Signal: "KILL", Recovered: good, Beats: heartbeat.MinBeats, Work: 1}); !k.OK() {
		t.Errorf("%+v is not OK", k)
	}
	for _, k := range []Killed{
		{Signal: "KILL", Recovered: good, Beats: heartbeat.MinBeats},
		{Signal: "KILL", Recovered: good, Work: 1},
		{Signal: "KILL", Recovered: good, Beats: heartbeat.MinBeats, Work: 1, Error: "x"},
		{Signal: "TERM", Recovered: good, Beats: heartbeat.MinBeats, Work: 1}, // left a journal
	} {
		if k.OK() {
			t.Errorf("%+v is OK", k)
		}
	}
}

func TestKillDelay(t *testing.T) {
	seen := map[int64]bool{}
	for seed := range uint64(20) {
		d := killDelay("cr3", seed, false)
		if d < 0 || d >= killSpan || d != killDelay("cr3", seed, false) {
			t.Errorf("seed %d: %v", seed, d)
		}
		if d := killDelay("cr3", seed, true); d < 0 || d >= earlySpan {
			t.Errorf("seed %d, early: %v", seed, d)
		}
		seen[int64(d)] = true
	}
	if len(seen) < 20 || killDelay("cr3", 1, false) == killDelay("poll", 1, false) {
		t.Errorf("%d different delays of 20", len(seen))
	}
}

// TestKillOne kills processes that behave like monitors, and some that do not.
func TestKillOne(t *testing.T) {
	if mode := os.Getenv("HANGBENCH_TEST_KILL"); mode != "" {
		switch mode {
		case "stays":
			os.Stdout.WriteString("attached\n")
			time.Sleep(time.Hour)
		case "detaches":
			term := make(chan os.Signal, 1)
			signal.Notify(term, unix.SIGTERM)
			os.Stdout.WriteString("attached\n")
			<-term
			os.Exit(0)
		case "fails":
			term := make(chan os.Signal, 1)
			signal.Notify(term, unix.SIGTERM)
			os.Stdout.WriteString("attached\n")
			<-term
			os.Exit(4)
		case "refuses":
			os.Stderr.WriteString("no such mechanism\n")
			os.Exit(2)
		}
	}
	run := func(mode string, sig unix.Signal) error {
		t.Setenv("HANGBENCH_TEST_KILL", mode)
		return killOne(t.Context(), []string{os.Args[0], "-test.run", "^TestKillOne$"}, nil, 0, sig)
	}
	for _, c := range []struct {
		mode string
		sig  unix.Signal
		ok   bool
	}{
		{"stays", unix.SIGKILL, true}, {"detaches", unix.SIGKILL, true}, {"detaches", unix.SIGTERM, true},
		{"fails", unix.SIGTERM, false},
		{"stays", unix.SIGTERM, false}, // it dies of it
	} {
		if err := run(c.mode, c.sig); (err == nil) != c.ok {
			t.Errorf("a monitor that %s, after %v: %v", c.mode, c.sig, err)
		}
	}
	looks := 0
	begun := func() bool { looks++; return looks == 3 }
	t.Setenv("HANGBENCH_TEST_KILL", "stays")
	if err := killOne(t.Context(), []string{os.Args[0], "-test.run", "^TestKillOne$"}, begun, 0,
		unix.SIGKILL); err != nil || looks != 3 {
		t.Errorf("killed while it attaches: %v, after %d looks", err, looks)
	}
	if err := run("refuses", unix.SIGKILL); err == nil || !strings.Contains(err.Error(), "no such mechanism") {
		t.Errorf("a monitor that does not attach: %v", err)
	}
	if err := killOne(t.Context(), []string{"/no/such/program"}, nil, 0, unix.SIGKILL); err == nil {
		t.Error("a program that is not there was killed")
	}
}

// FuzzParseStat: whatever stands in /proc/PID/stat, no panic, and a result only of a
// text that has both fields.
func FuzzParseStat(f *testing.F) {
	f.Add("12 (a) Z) R) S" + strings.Repeat(" 0", 18) + " 4711 0 0\n")
	f.Add("12 (a) S 1 2")
	f.Add(")")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		state, start, err := parseStat(text)
		if err != nil {
			return
		}
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if n, err := strconv.ParseUint(f[19], 10, 64); err != nil || n != start || f[0][0] != state {
			t.Errorf("%q: state %c, start %d", text, state, start)
		}
	})
}

// FuzzJournal: whatever stands in a journal, reading it returns an error or changes
// that can be written and read again as they are, and that Recover can take.
func FuzzJournal(f *testing.F) {
	text, err := trap.Changes{Mechanism: "int3-step", PID: 7,
		Patched: []trap.Patch{{GPA: 1, Original: []byte{2}, Patched: []byte{0xcc}}}}.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("{}")
	f.Add(`{"version":1,"restricted":[-1]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseJournal(3, text)
		if err != nil {
			var damaged *damagedError
			if !errors.As(err, &damaged) {
				t.Errorf("%q: %v is no damaged journal", text, err)
			}
			return
		}
		again, err := c.Text()
		if err != nil {
			t.Fatalf("%q cannot be written again: %v", text, err)
		}
		c2, err := parseJournal(3, again)
		if err != nil {
			t.Fatalf("%q was written as %q, which cannot be read: %v", text, again, err)
		}
		if third, err := c2.Text(); err != nil || third != again {
			t.Errorf("%q was written as %q, then as %q (%v)", text, again, third, err)
		}
		if left := leftover(c); len(left.Patched) != len(c.Patched) || len(left.Restricted) != len(c.Restricted) {
			t.Errorf("%q: %+v", text, left)
		}
	})
}
