package bochs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hasty is a machine of which a standstill is noticed after 0.6 s and not a minute.
func hasty(t *testing.T) Launch {
	t.Helper()
	l := fakePrefix(t)
	l.every = 10 * time.Millisecond
	return l
}

// TestLimit: reading ends when the machine's own time has passed, and another limit
// begins anew.
func TestLimit(t *testing.T) {
	t.Parallel()
	p := start(t, fakePrefix(t))
	for range 2 {
		from := p.VirtualTime()
		p.Limit(200 * time.Millisecond)
		var limit *LimitError
		if _, err := io.Copy(io.Discard, p); !errors.As(err, &limit) || limit.Still || limit.After != 200*time.Millisecond {
			t.Errorf("error %v", err)
		}
		if took := p.VirtualTime() - from; took < 200*time.Millisecond {
			t.Errorf("it ended after %v", took)
		}
	}
	p.Limit(0)
	if _, err := io.WriteString(p.Conn(), "say x\n"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 9)); n == 0 || err != nil {
		t.Errorf("without a limit: %d, %v", n, err)
	}
}

// TestLimitOfFlood: a machine that never stops talking reaches its limit too.
func TestLimitOfFlood(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	l.Job = []byte("say first\n")
	p := start(t, l)
	flood, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for flood.Err() == nil {
			if _, err := io.WriteString(p.Conn(), "fill 4096\n"); err != nil {
				return
			}
		}
	}()
	p.Limit(100 * time.Millisecond)
	var limit *LimitError
	if _, err := io.Copy(io.Discard, p); !errors.As(err, &limit) || limit.Still {
		t.Errorf("error %v", err)
	}
	p.Close()
}

// TestStandstill: an emulator that is stopped, or whose clock is, is reported.
func TestStandstill(t *testing.T) {
	t.Parallel()
	l := hasty(t)
	check := func(what string, err error) {
		t.Helper()
		var limit *LimitError
		if !errors.As(err, &limit) || !limit.Still || !strings.Contains(err.Error(), "has made no progress for 600ms") {
			t.Errorf("%s: error %v", what, err)
		}
	}
	p := start(t, l)
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, p)
	check("stopped", err)

	l.Job = []byte("freeze\n")
	p = start(t, l)
	_, err = io.Copy(io.Discard, p)
	check("frozen", err)

	l.Job, l.Disc, l.Dir = nil, filepath.Join(t.TempDir(), "disc"), t.TempDir()
	writeFile(t, l.Disc, "frozen")
	_, err = Start(t.Context(), l)
	check("frozen before its first millisecond", err)
	l.Dir = t.TempDir()
	_, err = Save(t.Context(), l, SaveRequest{Dir: filepath.Join(t.TempDir(), "s"), After: "@ready"})
	check("frozen while it should be saved", err)
}

// TestSlow: an emulator that gets on now and then is waited for, however long it takes.
func TestSlow(t *testing.T) {
	t.Parallel()
	p := start(t, hasty(t))
	ended := make(chan error, 1)
	p.Limit(time.Hour)
	from := p.VirtualTime()
	go func() {
		_, err := io.Copy(io.Discard, p)
		ended <- err
	}()
	// Twice as long as a standstill is waited for.
	for until := time.Now().Add(2 * standstill * p.every); time.Now().Before(until); {
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(standstill * p.every / 5)
		if err := syscall.Kill(p.PID(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for now := p.VirtualTime(); p.VirtualTime() == now; {
			time.Sleep(time.Millisecond)
		}
	}
	select {
	case err := <-ended:
		t.Errorf("given up after %v of its time: %v", p.VirtualTime()-from, err)
	default:
	}
	p.Close()
	<-ended
}

// TestSaveLimit: a machine that is never ready is given up by its own time.
func TestSaveLimit(t *testing.T) {
	t.Parallel()
	l := fakePrefix(t)
	l.Disc, l.Dir = filepath.Join(t.TempDir(), "disc"), t.TempDir()
	writeFile(t, l.Disc, "silent")
	_, err := Save(t.Context(), l, SaveRequest{Dir: filepath.Join(t.TempDir(), "s"), After: "@ready", Within: time.Second})
	var limit *LimitError
	if !errors.As(err, &limit) || limit.After != time.Second || limit.Still {
		t.Errorf("error %v", err)
	}
}

func TestCPUTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		stat string
		want time.Duration
		ok   bool
	}{
		{"1 (a b) S 1 1 1 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 1", 1750 * time.Millisecond, true},
		{"1 (x) 9 9 9) R 1 1 1 0 -1 4194560 1 2 3 4 0 3 0 0", 30 * time.Millisecond, true},
		{"1 (x) R 1 1 1 0 -1 4194560 1 2 3 4 5", 0, false},
		{"1 (x) R 1 1 1 0 -1 4194560 1 2 3 4 5 -6 7", 0, false},
		{"", 0, false},
	} {
		if got, err := parseCPUTime(tc.stat); got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q: %v, %v, want %v", tc.stat, got, err, tc.want)
		}
	}
	for used := time.Duration(0); used < 50*time.Millisecond; {
		var err error
		if used, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzCPUTime: no line crashes it, and no time is negative.
func FuzzCPUTime(f *testing.F) {
	f.Add("1 (a b) S 1 1 1 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 1")
	f.Add("1 (a")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		if d, err := parseCPUTime(stat); d < 0 || err != nil && d != 0 {
			t.Fatalf("%v, %v", d, err)
		}
	})
}
