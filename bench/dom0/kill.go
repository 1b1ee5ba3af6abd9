package dom0

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/monitor/trap"
)

// Killed is what came of one monitor that was killed.
type Killed struct {
	Mechanism string `json:"mechanism"`
	Signal    string `json:"signal"`
	Seed      uint64 `json:"seed"`
	// Early says that the signal came while the monitor attached. AfterUS is how
	// long after it was attached it came, or after the journal was begun if early.
	Early     bool      `json:"early,omitempty"`
	AfterUS   int64     `json:"after_us"`
	Recovered Recovered `json:"recovered"`
	Beats     uint64    `json:"beats"` // of the guest after it was recovered
	Work      uint64    `json:"work"`
	Error     string    `json:"error,omitempty"`
}

// OK reports whether the guest was recovered and goes on. A monitor that could
// let go of the guest itself must have: there must have been nothing to recover.
func (k *Killed) OK() bool {
	r := &k.Recovered
	if k.Signal != "KILL" && (r.Journal != JournalNone || r.RingOn || r.Altp2mOn) {
		return false
	}
	return k.Error == "" && r.OK() && k.Beats >= killBeats && k.Work > 0
}

// Signals are the signals that end a monitor, by name. KILL ends it where it
// stands; on the others it lets go of the guest.
func Signals() map[string]unix.Signal {
	return map[string]unix.Signal{"KILL": unix.SIGKILL, "TERM": unix.SIGTERM, "INT": unix.SIGINT}
}

const (
	// killSpan is the span over which the kill is spread, after attaching.
	killSpan = 500 * time.Millisecond
	// earlySpan is the same for a kill while the monitor attaches, after it has begun
	// its journal; earlyEvery is how often that is tried. In the lab a monitor
	// attaches within some milliseconds.
	earlySpan  = 10 * time.Millisecond
	earlyEvery = 4
	// attachDeadline bounds the child's way to its trap, on dom0's clock.
	attachDeadline = 60 * time.Second
	// killBeats is how many heartbeats a guest must make to be taken for alive, and
	// aliveDeadline how long it has for them.
	killBeats     = 2
	aliveDeadline = 10 * time.Second
)

// killDelay is how long after attaching, or after beginning to, a monitor is
// killed: it follows from mechanism and seed alone.
func killDelay(mechanism string, seed uint64, early bool) time.Duration {
	span := killSpan
	if early {
		span = earlySpan
	}
	sum := fnv.New64a()
	io.WriteString(sum, mechanism)
	return time.Duration(rand.New(rand.NewPCG(sum.Sum64(), seed)).Int64N(int64(span)))
}

// heartbeat maps the heartbeat page that a guest of ours has announced.
func (h *Host) heartbeat(domid int) (*beat.Page, int, func() error, error) {
	text, err := h.store.Read(xc.DomainPath(xc.DomID(domid)) + "/" + beat.Node)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("domain %d has announced no heartbeat: %w", domid, err)
	}
	ann, err := beat.ParseAnnouncement(text)
	if err != nil {
		return nil, 0, nil, err
	}
	m, err := h.xen.Domain(xc.DomID(domid)).Map([]uint64{ann.GFN}, xc.ReadWrite)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("map the heartbeat page: %w", err)
	}
	page, err := beat.New(m.Bytes())
	if err == nil && !page.Valid() {
		err = fmt.Errorf("the frame %#x that the guest announced is not its heartbeat page", ann.GFN)
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, m.Close())
	}
	return page, ann.CPUs, m.Close, nil
}

// Kill has monitors of the mechanism killed on a guest with the heartbeat, one
// for each seed from 1 on, and recovers the guest each time. watch is the command
// that monitors the guest; it writes a line once it is attached. A mechanism that
// attaches nothing has the guest in order recovered.
func (h *Host) Kill(ctx context.Context, domid int, m trap.Mechanism, signal string, seeds int, watch []string) ([]Killed, error) {
	sig, ok := Signals()[signal]
	if !ok {
		return nil, fmt.Errorf("there is no signal %q that ends a monitor", signal)
	}
	page, cpus, closePage, err := h.heartbeat(domid)
	if err != nil {
		return nil, err
	}
	defer closePage()
	// A busy guest: the kill falls into steps, not into an idle guest's sleep.
	page.Want(beat.Busy)
	start := page.Total(cpus)
	for end := now() + int64(aliveDeadline); !page.Runs(beat.Busy) || page.Total(cpus).Work == start.Work; {
		if now() > end {
			return nil, fmt.Errorf("domain %d did not start the busy workload within %v", domid, aliveDeadline)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	var all []Killed
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		k := Killed{Mechanism: m.Name, Signal: signal, Seed: seed}
		if m.Watches() {
			k.Early = seed%earlyEvery == 0 && sig == unix.SIGKILL
			delay := killDelay(m.Name, seed, k.Early)
			k.AfterUS = delay.Microseconds()
			var begun func() bool
			if k.Early {
				begun = func() bool {
					_, err := h.journalOf(domid)
					return err == nil
				}
			}
			err = killOne(ctx, watch, begun, delay, sig)
		}
		if err == nil {
			k.Recovered, err = h.Recover(domid, false)
		}
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if err == nil {
			k.Beats, k.Work, err = lives(ctx, page, cpus)
		}
		if err != nil {
			k.Error = err.Error()
		}
		all = append(all, k)
		if !k.OK() {
			// What comes after would be about this guest's state, not about kills.
			return all, nil
		}
	}
	return all, nil
}

// killOne starts a monitor and kills it some time after it has attached, or after
// begun, if that is set, has become true.
func killOne(ctx context.Context, watch []string, begun func() bool, delay time.Duration, sig unix.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, attachDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, watch[0], watch[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start a monitor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a monitor: %w", err)
	}
	in := bufio.NewReader(out)
	var line string
	if begun != nil {
		for !begun() && err == nil {
			err = sleep(ctx, 200*time.Microsecond)
		}
	} else {
		line, err = in.ReadString('\n')
	}
	if err != nil {
		cmd.Process.Kill()
		werr := cmd.Wait()
		return fmt.Errorf("the monitor ended before it was attached: %w: %s", errors.Join(err, ctx.Err(), werr), bytes.TrimSpace(said.Bytes()))
	}
	serr := sleep(ctx, delay)
	// SIGKILL: by the kernel's hand, in whatever the monitor is doing.
	if err := cmd.Process.Signal(sig); err != nil {
		cmd.Wait()
		return fmt.Errorf("the monitor (%s) ended before it was killed: %w: %s", bytes.TrimSpace([]byte(line)), err, bytes.TrimSpace(said.Bytes()))
	}
	rest, _ := io.ReadAll(in)
	cmd.Wait() // how it ended is looked at below
	if serr != nil {
		return serr
	}
	if state := cmd.ProcessState; state.Exited() != (sig != unix.SIGKILL) || state.Exited() && state.ExitCode() != 0 {
		return fmt.Errorf("the monitor ended with %v after %v: %s%s", state, sig, rest, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// lives waits for heartbeats and work of the guest, and counts them.
func lives(ctx context.Context, page *beat.Page, cpus int) (beats, work uint64, err error) {
	start := page.Total(cpus)
	for end := now() + int64(aliveDeadline); ; {
		c := page.Total(cpus)
		beats, work = c.Beats-start.Beats, c.Work-start.Work
		if beats >= killBeats && work > 0 || now() > end {
			return beats, work, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return beats, work, err
		}
	}
}
