package recovery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0/clock"
	"hangbench/bench/dom0/heartbeat"
	"hangbench/monitor/trap"
)

// KillJob says what monitors to kill on a guest.
type KillJob struct {
	Mechanism string `json:"mechanism"`
	Signal    string `json:"signal"` // a name of Signals
	Seeds     int    `json:"seeds"`  // kills, with the seeds 1 to Seeds
}

// WatchCommand returns the command line with which a program of this project monitors
// a domain, for Host.Kill.
func WatchCommand(program, domain, driver, mechanism string) []string {
	return []string{program, "watch", domain, "--driver", driver, "--mechanism", mechanism, "--json"}
}

// Killed is the result of killing one monitor.
type Killed struct {
	Mechanism string `json:"mechanism"`
	Signal    string `json:"signal"`
	Seed      uint64 `json:"seed"`
	// Early is set if the signal came while the monitor attached. AfterUS is how long
	// after it was attached the signal came, or after it began its journal if early,
	// in microseconds.
	Early     bool      `json:"early,omitempty"`
	AfterUS   int64     `json:"after_us"`
	Recovered Recovered `json:"recovered"`
	Beats     uint64    `json:"beats"` // of the guest after it was recovered
	Work      uint64    `json:"work"`
	Error     string    `json:"error,omitempty"`
}

// OK reports whether the guest was recovered and goes on. A monitor that could
// detach by itself must have left nothing to recover.
func (k *Killed) OK() bool {
	r := &k.Recovered
	if k.Signal != "KILL" && (r.Journal != JournalNone || r.RingOn || r.Altp2mOn) {
		return false
	}
	return k.Error == "" && r.OK() && k.Beats >= heartbeat.MinBeats && k.Work > 0
}

// Signals are the signals that end a monitor, by name. KILL ends it where it
// stands; on the others it detaches from the guest.
func Signals() map[string]unix.Signal {
	return map[string]unix.Signal{"KILL": unix.SIGKILL, "TERM": unix.SIGTERM, "INT": unix.SIGINT}
}

const (
	// killSpan is the span over which kills are spread, after attaching.
	killSpan = 500 * time.Millisecond
	// earlySpan is the same for a kill while the monitor attaches, after it has begun
	// its journal. In the lab a monitor attaches within some milliseconds. One of
	// earlyEvery kills is such a kill.
	earlySpan  = 10 * time.Millisecond
	earlyEvery = 4
	// attachDeadline bounds the time until the child is attached, on dom0's clock.
	attachDeadline = 60 * time.Second
	// journalPoll is how often an early kill looks for the journal.
	journalPoll = 200 * time.Microsecond
)

// killDelay is the time from attaching, or from beginning to attach, to the kill.
// It follows from mechanism and seed alone.
func killDelay(mechanism string, seed uint64, early bool) time.Duration {
	span := killSpan
	if early {
		span = earlySpan
	}
	sum := fnv.New64a()
	io.WriteString(sum, mechanism)
	return time.Duration(rand.New(rand.NewPCG(sum.Sum64(), seed)).Int64N(int64(span)))
}

// Kill kills monitors on a guest that has a heartbeat, one for each seed, and
// recovers the guest each time. It ends early after a kill that is not OK, because
// the next one would show the state of that guest.
//
// watch is the command that monitors the guest; it writes a line to standard output
// once it is attached. With a mechanism that attaches nothing, an untouched guest is
// recovered. log gets a record of each kill.
func (h *Host) Kill(ctx context.Context, domid int, job KillJob, watch []string, log *slog.Logger) ([]Killed, error) {
	m, err := trap.Find(job.Mechanism)
	if err != nil {
		return nil, err
	}
	sig, ok := Signals()[job.Signal]
	if !ok {
		return nil, fmt.Errorf("there is no signal %q that ends a monitor", job.Signal)
	}
	a, err := heartbeat.Announced(h.Store, domid)
	if err != nil {
		return nil, err
	}
	page, err := heartbeat.Open(h.Xen, domid, a)
	if err != nil {
		return nil, err
	}
	defer page.Close()
	// On a busy guest the kill falls into events, on an idle one into its sleep.
	if err := page.SetBusy(ctx, true); err != nil {
		return nil, err
	}
	var all []Killed
	for seed := uint64(1); seed <= uint64(job.Seeds); seed++ {
		log.Info(fmt.Sprintf("kill %s, seed %d", m.Name, seed))
		k := h.killSeed(ctx, domid, m, sig, seed, watch, page)
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		k.Signal = job.Signal
		if all = append(all, k); !k.OK() {
			break
		}
	}
	return all, nil
}

// killSeed kills one monitor and recovers the guest.
func (h *Host) killSeed(ctx context.Context, domid int, m trap.Mechanism, sig unix.Signal, seed uint64,
	watch []string, page *heartbeat.Page) Killed {
	k := Killed{Mechanism: m.Name, Seed: seed}
	var err error
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
	if err == nil {
		c, perr := page.Progress(ctx)
		k.Beats, k.Work, err = c.Beats, c.Work, perr
	}
	if err != nil {
		k.Error = err.Error()
	}
	return k
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
			err = clock.Sleep(ctx, journalPoll)
		}
	} else {
		line, err = in.ReadString('\n')
	}
	if err != nil {
		cmd.Process.Kill()
		werr := cmd.Wait()
		return fmt.Errorf("the monitor ended before it was attached: %w: %s",
			errors.Join(err, ctx.Err(), werr), bytes.TrimSpace(said.Bytes()))
	}
	serr := clock.Sleep(ctx, delay)
	if err := cmd.Process.Signal(sig); err != nil {
		cmd.Wait()
		return fmt.Errorf("the monitor (%s) ended before it was killed: %w: %s",
			bytes.TrimSpace([]byte(line)), err, bytes.TrimSpace(said.Bytes()))
	}
	rest, _ := io.ReadAll(in)
	cmd.Wait() // its error is judged below, by the process's state
	if serr != nil {
		return serr
	}
	state := cmd.ProcessState
	if state.Exited() != (sig != unix.SIGKILL) || state.Exited() && state.ExitCode() != 0 {
		return fmt.Errorf("the monitor ended with %v after %v: %s%s", state, sig, rest, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
