package labhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/price"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
	"hangbench/bench/reach"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/wire"
)

// Limits of a lab's silence, by the lab's own clock: a lab on a busy host is waited for.
// A trial reports a stage every few virtual seconds, and the largest message takes six
// virtual minutes on the serial line. A lab that was restored sends its first message
// within some virtual milliseconds.
const (
	patience      = 10 * time.Minute
	firstPatience = time.Minute
)

// maxProgress is how many reports of progress a job may have. A trial has one every
// ten virtual seconds.
const maxProgress = 100_000

// process is the part of a bochs.Process that a Machine needs.
type process interface {
	io.Reader // of com2, with a limit
	Limit(d time.Duration)
	Conn() net.Conn
	Explain(op string, err error) error
	Done() <-chan struct{}
	PID() int
	Dir() string
	Close() error
}

// Machine is a running lab.
type Machine struct {
	p    process
	in   *wire.Reader
	run  folder
	keep atomic.Bool // keep the folder: something failed
	said bool        // the agent has sent a message
}

// folder is the folder of a running machine.
type folder struct {
	dir     string
	release func() // lets the cache remove it
}

// end releases the folder, and removes it unless keep is set.
func (f folder) end(keep bool) error {
	defer f.release()
	if keep {
		return nil
	}
	return os.RemoveAll(f.dir)
}

// AgentError is a job that the agent in dom0 could not do.
type AgentError struct{ agent.Failure }

func (e *AgentError) Error() string { return "dom0: " + e.Failure.Error }

// frame encodes a job for the agent.
func frame(job agent.Job) ([]byte, error) {
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	// A port that is just being opened may lose the first bytes.
	if err := w.Sync(64); err != nil {
		return nil, err
	}
	if err := w.Send(wire.KindJob, job); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// start starts a machine from a snapshot, with its first job in place. log gets the
// emulator's process and the folder of its logs.
func (h *Host) start(ctx context.Context, snap *bochs.Snapshot, job *agent.Job, log *slog.Logger) (*Machine, error) {
	l, run, err := h.launch(job)
	if err != nil {
		return nil, err
	}
	l.Snapshot = snap
	p, err := bochs.Start(ctx, l)
	if err != nil {
		run.end(ctx.Err() == nil)
		return nil, err
	}
	m := &Machine{p: p, in: wire.NewReader(p), run: run}
	log.Debug("emulator started", "pid", m.PID(), "logs", m.Dir())
	return m, nil
}

// launch describes a machine of this lab, with a folder of its own.
func (h *Host) launch(job *agent.Job) (bochs.Launch, folder, error) {
	dir, release, err := h.Lab.Cache.RunDir(time.Now().UTC().Format("20060102-150405"))
	if err != nil {
		return bochs.Launch{}, folder{}, fmt.Errorf("start the lab: %w", err)
	}
	run := folder{dir, release}
	l := bochs.Launch{
		Prefix: h.Lab.Prefix, Shim: h.Shim, Disc: h.Lab.Disc(), Machine: h.Lab.Manifest.Machine,
		Dir: filepath.Join(dir, "machine"),
	}
	if job != nil {
		if l.Job, err = frame(*job); err != nil {
			run.end(false)
			return bochs.Launch{}, folder{}, err
		}
	}
	return l, run, nil
}

// next returns the next message that is not progress. Progress is passed on.
func (m *Machine) next(progress func(agent.Progress)) (wire.Message, error) {
	for range maxProgress {
		wait := patience
		if !m.said {
			wait = firstPatience
		}
		m.p.Limit(wait)
		msg, err := m.in.Next()
		if err != nil {
			m.keep.Store(true)
			return msg, m.p.Explain("wait for the agent in dom0", err)
		}
		m.said = true
		switch msg.Kind {
		case wire.KindProgress:
			var p agent.Progress
			if err := m.decode(msg, wire.KindProgress, &p); err != nil {
				return msg, err
			}
			if progress != nil {
				progress(p)
			}
		case wire.KindError:
			var f agent.Failure
			if err := m.decode(msg, wire.KindError, &f); err != nil {
				return msg, err
			}
			if f.NoProgram {
				return msg, &AgentError{f}
			}
			m.keep.Store(true)
			if f.Console != "" {
				os.WriteFile(filepath.Join(m.p.Dir(), "guest-console.log"), []byte(f.Console), 0o600)
			}
			return msg, m.p.Explain("run a job", &AgentError{f})
		default:
			return msg, nil
		}
	}
	m.keep.Store(true)
	return wire.Message{}, m.p.Explain("run a job",
		fmt.Errorf("the agent reported progress %d times and no result", maxProgress))
}

// expect reads the next message, which must be of that kind, into v.
func (m *Machine) expect(kind wire.Kind, v any, progress func(agent.Progress)) error {
	msg, err := m.next(progress)
	if err != nil {
		return err
	}
	return m.decode(msg, kind, v)
}

// decode reads a message, which must be of that kind, into v.
func (m *Machine) decode(msg wire.Message, kind wire.Kind, v any) error {
	err := fmt.Errorf("the agent sent %s where %s was due", msg.Kind, kind)
	if msg.Kind == kind {
		err = msg.Decode(v)
	}
	if err == nil {
		return nil
	}
	m.keep.Store(true)
	return m.p.Explain("run a job", err)
}

// send sends a job.
func (m *Machine) send(job agent.Job) error {
	b, err := frame(job)
	if err != nil {
		return err
	}
	if _, err := m.p.Conn().Write(b); err != nil {
		return m.p.Explain("send a job", err)
	}
	return nil
}

// do sends a job and reads the answer into v. Only a machine that was started without
// a job, or has done it, can.
func (m *Machine) do(job agent.Job, v any, log *slog.Logger) error {
	if err := m.send(job); err != nil {
		return err
	}
	return m.expect(wire.KindRecord, v, func(p agent.Progress) { log.Info(p.Stage) })
}

// Run runs a program in dom0 and returns its exit status, which is 128 and the signal's
// number if a signal has ended it. Its output is written as it comes. When ctx ends, or
// the output cannot be written, the program is ended (see agent.Job), Run returns the
// reason, and the machine is ready for the next program. The error is an *AgentError with NoProgram set
// if there is no such program.
func (m *Machine) Run(ctx context.Context, argv []string, stdout, stderr io.Writer) (status int, err error) {
	if err := m.send(agent.Job{Exec: argv}); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- m.send(agent.Job{Stop: true}) })
	defer func() {
		if !stop() {
			serr := <-stopped // a late one would stop the next program
			if err == nil {
				err = serr
			}
		}
	}()
	to := map[wire.Kind]io.Writer{wire.KindStdout: stdout, wire.KindStderr: stderr}
	for {
		msg, err := m.next(nil)
		if err != nil {
			return 0, err
		}
		if w := to[msg.Kind]; w != nil {
			if _, err := w.Write(msg.Body); err != nil {
				cancel(fmt.Errorf("pass on the output of %s: %w", argv[0], err))
			}
			continue
		}
		var e agent.Exit
		if err := m.decode(msg, wire.KindRecord, &e); err != nil {
			return 0, err
		}
		return e.Status, context.Cause(ctx)
	}
}

// MeasureEvent measures on the machine's guest. The report lacks what
// event.Report.Compute computes.
func (m *Machine) MeasureEvent(j price.EventJob, log *slog.Logger) (*event.Report, error) {
	var r event.Report
	return &r, m.do(agent.Job{Measure: &agent.MeasureJob{Event: &j}}, &r, log)
}

// RecordSites records which places of its kernel the machine's guest reaches.
func (m *Machine) RecordSites(j reach.Job, log *slog.Logger) (*reach.Report, error) {
	var r reach.Report
	return &r, m.do(agent.Job{Measure: &agent.MeasureJob{Sites: &j}}, &r, log)
}

// MeasureMisses counts on the machine's guest. The report lacks what
// misses.Report.Compute computes.
func (m *Machine) MeasureMisses(j price.MissesJob, log *slog.Logger) (*misses.Report, error) {
	var r misses.Report
	return &r, m.do(agent.Job{Measure: &agent.MeasureJob{Misses: &j}}, &r, log)
}

// Kill kills monitors of the machine's guest.
func (m *Machine) Kill(j agent.KillJob, log *slog.Logger) ([]recovery.Killed, error) {
	var all []recovery.Killed
	err := m.do(agent.Job{Measure: &agent.MeasureJob{Kill: &j}}, &all, log)
	return all, err
}

// Done is closed when the emulator has ended.
func (m *Machine) Done() <-chan struct{} { return m.p.Done() }

// PID is the emulator's process id.
func (m *Machine) PID() int { return m.p.PID() }

// Dir is the folder with the machine's logs.
func (m *Machine) Dir() string { return m.p.Dir() }

// Close ends the machine, also while another goroutine waits for an answer, and removes
// its folder, unless something failed.
func (m *Machine) Close() error {
	return errors.Join(m.p.Close(), m.run.end(m.keep.Load()))
}
