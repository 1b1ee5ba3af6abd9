package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/clock"
	"hangbench/guests/lab/place"
	"hangbench/guests/lab/wire"
)

// IsInit reports whether this process is the first one of the lab's dom0, and so has
// to be the agent.
func IsInit() bool { return os.Getpid() == 1 && os.Args[0] == place.Agent }

// IsBlockScript reports whether xl has started this process to connect a guest's
// disk, which dom0.ConnectDisk does.
func IsBlockScript() bool { return os.Args[0] == place.BlockScript }

// gcPercent keeps garbage collections out of a trial, where they would fall at points
// that depend on allocation history. dom0 has the memory to spare.
const gcPercent = 400

// Main is the agent. It does not return: once it can do nothing more it prints the
// reason and waits to be switched off.
func Main() {
	debug.SetGCPercent(gcPercent)
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
	a := newAgent(port, dom0.Consoles)
	if serr == nil {
		serr = a.open()
	}
	if serr != nil {
		return errors.Join(serr, a.send(wire.KindError, Failure{Error: "set up dom0: " + serr.Error()}))
	}
	return a.serve(ctx)
}

// agent carries out jobs.
type agent struct {
	raw      io.Writer
	port     *wire.Reader
	out      *wire.Writer
	consoles string // folder of the guests' console logs
	log      *slog.Logger
	host     host
	guest    guest    // nil until one was made
	program  *program // the last one of Job.Exec; nil: none yet
}

func newAgent(port io.ReadWriter, consoles string) *agent {
	a := &agent{raw: port, port: wire.NewReader(port), out: wire.NewWriter(port), consoles: consoles}
	a.log = slog.New(stages{a})
	return a
}

// open opens this dom0 and recovers guests whose monitors died. A dom0 that has just
// been booted has no guests; the dom0 of an agent that was started anew may.
func (a *agent) open() error {
	h, err := dom0.Open(dom0.Config{Guests: place.Guests, Work: "/tmp"})
	if err != nil {
		return err
	}
	h.Log = a.log
	a.host = &realHost{h}
	_, err = h.RecoverDead()
	return err
}

// send sends a message to the harness.
func (a *agent) send(k wire.Kind, v any) error {
	if err := a.out.Send(k, v); err != nil {
		return fmt.Errorf("send to the harness: %w", err)
	}
	return nil
}

// stages is a slog.Handler that sends the message of each record as Progress.
type stages struct{ a *agent }

func (s stages) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (s stages) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s stages) WithGroup(string) slog.Handler                { return s }

// Handle sends a stage. slog drops its error. It is not lost: after an error the line
// sends nothing more, and every further send returns that error.
func (s stages) Handle(_ context.Context, r slog.Record) error {
	return s.a.send(wire.KindProgress, Progress{Stage: r.Message, UpNS: clock.Now()})
}

// serve carries out jobs until the port fails. It then ends a program that runs.
func (a *agent) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.ready(); err != nil {
		return err
	}
	for {
		m, err := a.port.Next()
		if gap := (*wire.GapError)(nil); errors.As(err, &gap) {
			continue // the harness begins to count anew after each restore
		}
		if bad := (*wire.ProtocolError)(nil); errors.As(err, &bad) {
			if err := a.send(wire.KindError, Failure{Error: err.Error()}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		if m.Kind != wire.KindJob {
			continue
		}
		var job Job
		if err = m.Decode(&job); err == nil {
			if err = job.check(); err == nil {
				err = a.do(ctx, job)
			}
		}
		if err != nil {
			if err := a.send(wire.KindError, Failure{Error: err.Error(), Console: consoleTail(a.consoles)}); err != nil {
				return err
			}
		}
	}
}

// errBusy means that a job came while a program ran.
var errBusy = errors.New("dom0 is busy with another program")

// errNoGuest means that a job needs a guest and none was made.
var errNoGuest = errors.New("there is no guest")

// do carries out a job and sends the answer. A program runs on after do has returned,
// so that it can be stopped.
func (a *agent) do(ctx context.Context, job Job) error {
	switch {
	case job.Stop:
		if a.program.running() {
			a.program.end()
		}
		return nil
	case a.program.running():
		return errBusy
	case len(job.Exec) > 0:
		a.program = a.startProgram(ctx, job.Exec)
		return nil
	case job.Guest != nil:
		if a.guest != nil {
			return fmt.Errorf("make a guest: there is one already")
		}
		g, err := a.host.newGuest(ctx, *job.Guest)
		if err != nil {
			return err
		}
		a.guest = g
		return a.ready()
	case a.guest == nil:
		return errNoGuest
	case job.Trial != nil:
		return a.trial(ctx, job)
	case job.Measure != nil:
		answer, err := a.guest.measure(ctx, *job.Measure, a.log)
		if err != nil {
			return err
		}
		return a.send(wire.KindRecord, answer)
	}
	inspection, err := a.guest.inspect(ctx)
	if err != nil {
		return err
	}
	return a.send(wire.KindRecord, inspection)
}

// trial runs a trial.
func (a *agent) trial(ctx context.Context, job Job) error {
	if has := a.guest.spec(); has != job.Trial.Machine {
		return fmt.Errorf("trial %d wants guest %+v, the lab has %+v", job.Trial.Index, job.Trial.Machine, has)
	}
	var taken *dom0.Recording
	if job.Record {
		taken = &dom0.Recording{}
	}
	rec, err := a.guest.run(ctx, *job.Trial, taken)
	if err != nil {
		return err
	}
	if err := a.send(wire.KindRecord, rec); err != nil {
		return err
	}
	if taken != nil {
		if err := a.send(wire.KindStream, taken); err != nil {
			return err
		}
	}
	return a.send(wire.KindDone, Progress{Stage: "done", UpNS: clock.Now()})
}

// ready reports that the agent waits for a job.
func (a *agent) ready() error {
	xen, err := a.host.version()
	if err != nil {
		return err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("read dom0's kernel release: %w", err)
	}
	r := Ready{Xen: xen, Kernel: unix.ByteSliceToString(uts.Release[:]), UpNS: clock.Now()}
	if a.guest != nil {
		r.Guest = a.guest.release()
	}
	if err := a.send(wire.KindReady, r); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.raw, Mark); err != nil {
		return fmt.Errorf("mark the state to be saved: %w", err)
	}
	return nil
}

// maxTail is how much of the end of each console a Failure carries, in bytes.
const maxTail = 4096

// consoleTail returns the ends of the consoles whose logs are in dir. A log that
// cannot be read is named with the reason.
func consoleTail(dir string) string {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err.Error()
	}
	var all []byte
	for _, path := range logs {
		all = fmt.Appendf(all, "--- %s\n", filepath.Base(path))
		b, err := tail(path, maxTail)
		if all = append(all, b...); err != nil {
			all = fmt.Appendf(all, "%v\n", err)
		}
	}
	return string(all)
}

// tail returns the last n bytes of a file.
func tail(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, st.Size()-n), n))
}
