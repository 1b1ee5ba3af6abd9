package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/guests/lab/place"
	"hangbench/guests/lab/wire"
)

// IsInit reports whether this process is the first one of a machine, and so has
// to be the agent.
func IsInit() bool { return os.Getpid() == 1 && os.Args[0] == place.Agent }

// IsBlockScript reports whether this process was started by xl to connect a
// guest's disk, which is dom0.ConnectDisk.
func IsBlockScript() bool { return os.Args[0] == place.BlockScript }

// Main is the agent. It does not return: when nothing can be done any more it
// says so on console and port and waits to be switched off.
func Main() {
	// Collections would fall at points that depend on allocation history; with
	// room to spare the agent has next to none during a trial.
	debug.SetGCPercent(400)
	err := run(context.Background())
	fmt.Fprintln(os.Stderr, "hangbench agent:", err)
	for {
		time.Sleep(time.Hour)
	}
}

func run(ctx context.Context) error {
	serr := setup(ctx)
	port, err := openPort(Port)
	if err != nil {
		return errors.Join(serr, err)
	}
	a := &agent{raw: port, port: wire.NewReader(port), out: wire.NewWriter(port)}
	if serr == nil {
		a.host = &dom0.Host{Kind: "lab", Guests: place.Guests, Work: "/tmp", Log: slog.New(stages{a.out})}
		if serr = a.host.Open(); serr == nil {
			// A dom0 that has just been booted has no guests; an agent started anew may.
			_, serr = a.host.RecoverDead()
		}
	}
	if serr != nil {
		a.out.Send(wire.KindError, Failure{Error: "set up dom0: " + serr.Error()})
		return serr
	}
	return a.serve(ctx)
}

type agent struct {
	raw   io.Writer
	port  *wire.Reader
	out   *wire.Writer
	host  *dom0.Host
	guest *dom0.Guest
}

// stages is a slog.Handler that sends the message of each record as Progress.
type stages struct{ out *wire.Writer }

func (s stages) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (s stages) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s stages) WithGroup(string) slog.Handler                { return s }

func (s stages) Handle(_ context.Context, r slog.Record) error {
	return s.out.Send(wire.KindProgress, Progress{Stage: r.Message, UpNS: upNS()})
}

func upNS() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// serve does jobs until the port fails.
func (a *agent) serve(ctx context.Context) error {
	if err := a.ready(); err != nil {
		return err
	}
	for {
		m, err := a.port.Next()
		if gap := (*wire.GapError)(nil); errors.As(err, &gap) {
			continue // the harness starts its count anew after each restore
		}
		if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if m.Kind != wire.KindJob {
			continue
		}
		var job Job
		if err := m.Decode(&job); err != nil {
			a.out.Send(wire.KindError, Failure{Error: err.Error()})
			continue
		}
		if err := a.do(ctx, job); err != nil {
			if err := a.out.Send(wire.KindError, Failure{Error: err.Error(), Console: consoleTail()}); err != nil {
				return err
			}
		}
	}
}

func (a *agent) do(ctx context.Context, job Job) error {
	switch {
	case job.Guest != nil:
		if a.guest != nil {
			return fmt.Errorf("there is a guest already")
		}
		g, err := a.host.NewGuest(ctx, GuestName, *job.Guest)
		if err != nil {
			return err
		}
		a.guest = g
		return a.ready()
	case job.Trial != nil:
		if a.guest == nil {
			return fmt.Errorf("trial %d: there is no guest to run it on", job.Trial.Index)
		}
		if a.guest.Spec != job.Trial.Machine {
			return fmt.Errorf("trial %d wants guest %+v, the lab has %+v", job.Trial.Index, job.Trial.Machine, a.guest.Spec)
		}
		var taken *dom0.Recording
		if job.Record {
			taken = &dom0.Recording{}
		}
		rec, err := a.guest.Run(ctx, *job.Trial, taken)
		if err != nil {
			return err
		}
		if err := a.out.Send(wire.KindRecord, rec); err != nil {
			return err
		}
		if taken != nil {
			if err := a.out.Send(wire.KindStream, taken); err != nil {
				return err
			}
		}
		return a.out.Send(wire.KindDone, Progress{Stage: "done", UpNS: upNS()})
	case job.Look:
		if a.guest == nil {
			return fmt.Errorf("there is no guest to look at")
		}
		sight, err := a.guest.Sight()
		if err != nil {
			return err
		}
		return a.out.Send(wire.KindRecord, sight)
	case len(job.Exec) > 0:
		return a.exec(ctx, job.Exec)
	}
	return fmt.Errorf("empty job")
}

func (a *agent) ready() error {
	xen, err := a.host.Version()
	if err != nil {
		return err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	r := Ready{Xen: xen, Kernel: unix.ByteSliceToString(uts.Release[:]), UpNS: upNS()}
	if a.guest != nil {
		r.Guest = a.guest.Release
	}
	if err := a.out.Send(wire.KindReady, r); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.raw, Mark)
	return err
}

// exec runs a program, for ten minutes at most.
func (a *agent) exec(ctx context.Context, argv []string) error {
	const most = 1 << 20
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	// The harness gives up a lab that is silent for long.
	a.host.Log.Info("run " + argv[0])
	stop, silent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(silent)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				a.host.Log.Info("run " + argv[0])
			}
		}
	}()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	text, err := cmd.CombinedOutput()
	close(stop)
	<-silent
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	return a.out.Send(wire.KindRecord, Output{Text: strings.ToValidUTF8(string(text[:min(len(text), most)]), "?"), Status: cmd.ProcessState.ExitCode()})
}

// consoleTail returns the end of the guests' consoles.
func consoleTail() string {
	const most = 4096
	var all []byte
	logs, _ := filepath.Glob(filepath.Join(consoles, "*.log"))
	for _, l := range logs {
		f, err := os.Open(l)
		if err != nil {
			continue
		}
		if st, err := f.Stat(); err == nil && st.Size() > most {
			f.Seek(-most, io.SeekEnd)
		}
		b, _ := io.ReadAll(io.LimitReader(f, most))
		f.Close()
		all = append(append(all, fmt.Sprintf("--- %s\n", filepath.Base(l))...), b...)
	}
	return string(all)
}
