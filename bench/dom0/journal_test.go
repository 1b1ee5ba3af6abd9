package dom0

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// memStore is xenstore in memory.
type memStore struct {
	nodes map[string]string
	fail  error
}

func (m *memStore) Read(path string) (string, error) {
	v, ok := m.nodes[path]
	if !ok {
		return "", xc.ErrNotExist
	}
	return v, m.fail
}

func (m *memStore) Write(path, value string) error {
	if m.fail == nil {
		m.nodes[path] = value
	}
	return m.fail
}

func (m *memStore) Remove(path string) error {
	if m.fail == nil {
		delete(m.nodes, path)
	}
	return m.fail
}

func TestJournal(t *testing.T) {
	m := &memStore{nodes: map[string]string{}}
	closed := 0
	_, start, err := processStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{store: m, path: journalPath(3), close: func() error { closed++; return nil },
		mine: trap.Changes{Mechanism: "exec-step", PID: os.Getpid(), Start: start, Paused: true}}
	if _, err := readJournal(m, 3); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	changes := trap.Changes{Mechanism: "exec-step", Restricted: []uint64{7}}
	if err := j.Write(changes); err != nil {
		t.Fatal(err)
	}
	if j.inOrder {
		t.Error("in order with a frame restricted")
	}
	got, err := readJournal(m, 3)
	want := trap.Changes{Version: trap.ChangesVersion, Mechanism: "exec-step", Restricted: []uint64{7}, PID: os.Getpid(), Start: start, Paused: true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if !alive(got) {
		t.Error("this process is taken for dead")
	}
	if _, err := readJournal(m, 4); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("journal of another domain: %v", err)
	}
	// Cleared is not closed: the ring and a pause may still be the session's.
	if err := j.Clear(); err != nil || !j.inOrder {
		t.Errorf("%v, in order %v", err, j.inOrder)
	}
	if got, err = readJournal(m, 3); err != nil || len(got.Restricted) != 0 || got.PID != os.Getpid() {
		t.Errorf("cleared: %+v, %v", got, err)
	}
	// Not let go in order: it stays.
	if err := j.end(false); err != nil || closed != 1 || len(m.nodes) != 1 {
		t.Errorf("%v, closed %d times, %v", err, closed, m.nodes)
	}
	if err := j.end(true); err != nil || closed != 2 || len(m.nodes) != 0 {
		t.Errorf("%v, closed %d times, %v", err, closed, m.nodes)
	}
}

func TestJournalFailures(t *testing.T) {
	m := &memStore{nodes: map[string]string{}, fail: errors.New("no space")}
	j := &journal{store: m, path: journalPath(3), close: func() error { return nil }, mine: trap.Changes{Mechanism: "cr3", PID: 1}}
	if err := j.Clear(); !errors.Is(err, m.fail) || j.inOrder {
		t.Errorf("Clear: %v, in order %v", err, j.inOrder)
	}
	if err := j.end(true); !errors.Is(err, m.fail) {
		t.Errorf("end: %v", err)
	}
	m.fail = nil
	m.nodes[journalPath(3)] = `{"version":1,"restricted":[-1]}`
	var damaged *damagedError
	if _, err := readJournal(m, 3); !errors.As(err, &damaged) {
		t.Errorf("a damaged journal: %v", err)
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
	c := trap.Changes{Restricted: []uint64{1}, Added: []uint64{2}, Patched: []trap.Patch{{GPA: 3, Original: []byte{4}, Patched: []byte{5}}}}
	want := xc.Leftover{Restricted: []uint64{1}, Added: []uint64{2}, Unpause: true, Patched: []xc.Patched{{GPA: 3, Old: []byte{4}, By: []byte{5}}}}
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
		k := Killed{Signal: "KILL", Recovered: r, Beats: killBeats, Work: 1}
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
	if k := (Killed{Signal: "KILL", Recovered: good, Beats: killBeats, Work: 1}); !k.OK() {
		t.Errorf("%+v is not OK", k)
	}
	for _, k := range []Killed{
		{Signal: "KILL", Recovered: good, Beats: killBeats},
		{Signal: "KILL", Recovered: good, Work: 1},
		{Signal: "KILL", Recovered: good, Beats: killBeats, Work: 1, Error: "x"},
		{Signal: "TERM", Recovered: good, Beats: killBeats, Work: 1}, // left a journal
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
		case "lets go":
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
		{"stays", unix.SIGKILL, true}, {"lets go", unix.SIGKILL, true}, {"lets go", unix.SIGTERM, true},
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
	if err := killOne(t.Context(), []string{os.Args[0], "-test.run", "^TestKillOne$"}, begun, 0, unix.SIGKILL); err != nil || looks != 3 {
		t.Errorf("killed while it attaches: %v, after %d looks", err, looks)
	}
	if err := run("refuses", unix.SIGKILL); err == nil || !strings.Contains(err.Error(), "no such mechanism") {
		t.Errorf("a monitor that does not attach: %v", err)
	}
	if err := killOne(t.Context(), []string{"/no/such/program"}, nil, 0, unix.SIGKILL); err == nil {
		t.Error("a program that is not there was killed")
	}
}
