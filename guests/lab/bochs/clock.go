package bochs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of an emulator that makes no progress. They are counted in observations, each
// at least observeEvery of wall-clock time after the one before it. So the time in
// which this program itself was stopped does not count.
const (
	observeEvery = time.Second
	// standstill is the number of observations without any progress after which an
	// emulator is given up. A slow machine still progresses in that time.
	standstill = 60
	// startCPU is the processor time within which an emulator must reach its first
	// virtual millisecond. A restore takes a few seconds of it.
	startCPU = 2 * time.Minute
)

// LimitError reports that a machine has used up the time that it was given, or makes
// no progress. Both are measured by the machine's own clock, so that a machine on a
// busy host is waited for.
type LimitError struct {
	// After is the machine's time that has passed, or, if Still is set, the wall-clock
	// time without progress.
	After time.Duration
	Still bool
	PID   int // the emulator's process id
}

func (e *LimitError) Error() string {
	if e.Still {
		return fmt.Sprintf("the emulator has made no progress for %v: was its process %d stopped?", e.After, e.PID)
	}
	return fmt.Sprintf("nothing came within %v of the machine's time", e.After)
}

// newClock makes the file in which the shim counts virtual milliseconds: 8 bytes of
// memory, in the byte order of the host.
func newClock() (*os.File, error) {
	fd, err := unix.MemfdCreate("clock", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "clock")
	if err := f.Truncate(8); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// VirtualTime returns how long the machine has run by its own clock since this process
// started it, in whole milliseconds. After Close it is 0.
func (p *Process) VirtualTime() time.Duration {
	var b [8]byte
	if _, err := p.clock.ReadAt(b[:], 0); err != nil {
		return 0
	}
	return time.Duration(binary.NativeEndian.Uint64(b[:])) * time.Millisecond
}

// cpuTime returns the processor time that a process has used, in units of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseCPUTime(string(stat))
}

// parseCPUTime returns utime and stime of a line of /proc/PID/stat (proc_pid_stat(5)).
// The name of the program is in parentheses, and may have any characters.
func parseCPUTime(stat string) (time.Duration, error) {
	const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) is 100 on Linux
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has too few fields")
	}
	var sum time.Duration
	for _, f := range fields[11:13] { // the state is fields[0]
		n, err := strconv.ParseUint(f, 10, 31)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// progress is a measure that grows while an emulator gets on.
type progress struct{ virtual, cpu time.Duration }

// progress returns the measure for an emulator. While it restores or saves its state
// its virtual time stands still, and its processor time counts.
func (p *Process) progress() progress {
	g := progress{virtual: p.VirtualTime()}
	if g.virtual == 0 || p.saving.Load() {
		g.cpu, _ = cpuTime(p.PID()) // of a process that has ended: Done tells
	}
	return g
}

// patience notices a standstill.
type patience struct {
	last  progress
	still int // observations without progress
}

// observe is called about every observeEvery. It returns an error once there was no
// progress for too long.
func (w *patience) observe(p *Process) error {
	now := p.progress()
	if now != w.last {
		w.last, w.still = now, 0
		return nil
	}
	if w.still++; w.still < standstill {
		return nil
	}
	return &LimitError{After: standstill * p.every, Still: true, PID: p.PID()}
}

// Limit gives the machine d of its own time, from now on, for what com2 is to say. Then
// Read fails, until Limit is called again. 0 removes the limit.
func (p *Process) Limit(d time.Duration) {
	p.limit.Store(int64(d))
	p.limitFrom.Store(int64(p.VirtualTime()))
}

// Read reads from com2. The error is a [*LimitError] if the machine's time has reached
// the limit, or if the emulator has made no progress for a minute.
func (p *Process) Read(b []byte) (int, error) {
	var w patience
	for {
		limit := time.Duration(p.limit.Load())
		if limit > 0 && p.VirtualTime()-time.Duration(p.limitFrom.Load()) >= limit {
			return 0, &LimitError{After: limit, PID: p.PID()}
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(p.every)); err != nil {
			return 0, err
		}
		n, err := p.conn.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := w.observe(p); err != nil {
			return 0, err
		}
	}
}
