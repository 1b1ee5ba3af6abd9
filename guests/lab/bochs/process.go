package bochs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"hangbench/guests/lab/toolchain"
)

// MaxJob is the largest [Launch.Job] in bytes. It fits in the buffer of a unix
// socket under Linux' default limits.
const MaxJob = 128 << 10

// Launch describes a machine to be started.
type Launch struct {
	// Prefix is the folder with the unpacked packages bochs, bochsbios and vgabios,
	// and the libraries they need.
	Prefix string
	// Shim is the path of the library that [BuildShim] made.
	Shim string
	// Disc is the path of the image of the boot CD-ROM.
	Disc string
	// Machine is the emulated computer.
	Machine Machine
	// Dir is the run's folder, for configuration and logs. Start makes it. If it
	// exists, it must be empty.
	Dir string
	// Snapshot is the state from which the machine continues; nil to boot it.
	Snapshot *Snapshot
	// Job is the input of com2, at most MaxJob bytes. It is there from the first
	// instruction on. A machine that boots loses about 16 bytes of it when its
	// kernel resets the port (see wire.Writer.Sync).
	Job []byte

	save  savePoint
	every time.Duration // observeEvery, unless a test sets another one
}

// savePoint says when and where to save the state.
type savePoint struct {
	after string // beginning of a line on com2; empty: never
	dir   string
}

// saves reports whether the machine's state will be saved.
func (l Launch) saves() bool { return l.save.after != "" }

// Process is a running emulator. Any goroutine may call its methods.
type Process struct {
	dir   string
	conn  net.Conn
	cmd   *exec.Cmd
	clock *os.File // the shim counts virtual milliseconds in it
	every time.Duration

	limit, limitFrom atomic.Int64 // see Limit; durations of the machine's time
	saving           atomic.Bool  // the state is being written

	running chan struct{} // closed at the first virtual millisecond
	done    chan struct{} // closed when the process has ended and been reaped
	// These two are valid when done is closed.
	exit  error
	saved bool

	killed   atomic.Bool // by Close
	closing  sync.Once
	closeErr error
}

// Start starts a machine and returns when it runs: in its BIOS, or where it was
// saved. The emulator is killed when ctx is done, at any time, and when this program
// ends, in whatever way.
//
// An error is a [*SnapshotError] if l.Snapshot has been damaged since it was opened:
// when a machine does not start from it, all its files are read again. Once the
// emulator has been started, every other error is a [*Failure].
func Start(ctx context.Context, l Launch) (*Process, error) {
	p, err := l.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the emulator: %w", err)
	}
	err = p.awaitRunning(ctx)
	if err == nil {
		return p, nil
	}
	p.Close()
	if ctx.Err() != nil {
		return nil, p.Explain("start the emulator", context.Cause(ctx))
	}
	if l.Snapshot != nil {
		if damaged := l.Snapshot.VerifyAgain(ctx); damaged != nil {
			return nil, damaged
		}
	}
	return nil, p.Explain("start the emulator", err)
}

// awaitRunning waits for the machine's first virtual millisecond.
func (p *Process) awaitRunning(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for w := (patience{}); ; {
		select {
		case <-p.running:
			return nil
		case <-p.done:
			if err := p.Wait(); err != nil {
				return err
			}
			return &ExitError{}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := w.observe(p); err != nil {
			return err
		}
		if used, err := cpuTime(p.PID()); err == nil && used > startCPU {
			return fmt.Errorf("its machine does not run after %v of processor time", used)
		}
	}
}

// start fills the run's folder and starts the process.
func (l Launch) start(ctx context.Context) (*Process, error) {
	if err := l.Machine.Validate(); err != nil {
		return nil, err
	}
	if len(l.Job) > MaxJob {
		return nil, fmt.Errorf("the job has %d bytes, and at most %d fit in the serial port's buffer", len(l.Job), MaxJob)
	}
	for _, path := range []*string{&l.Prefix, &l.Shim, &l.Disc, &l.Dir} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	// For the dynamic loader these characters separate the paths of a list.
	for _, path := range []string{l.Prefix, l.Shim} {
		if strings.ContainsAny(path, ":; ") {
			return nil, fmt.Errorf("the path %q has a colon, semicolon or blank: choose another cache folder", path)
		}
	}
	args, err := l.layOut()
	if err != nil {
		return nil, err
	}

	conn, com2, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("make com2: %w", err)
	}
	defer com2.Close()
	if err := preload(conn, l.Job); err != nil {
		conn.Close()
		return nil, err
	}
	statusReader, statusWriter, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("make the status line: %w", err)
	}
	defer statusWriter.Close()
	clock, err := newClock()
	if err != nil {
		conn.Close()
		statusReader.Close()
		return nil, fmt.Errorf("make the machine's clock: %w", err)
	}
	output, err := os.Create(filepath.Join(l.Dir, outputLog))
	if err != nil {
		conn.Close()
		statusReader.Close()
		clock.Close()
		return nil, err
	}
	defer output.Close()

	loader, libs := toolchain.Loader(l.Prefix)
	program := filepath.Join(l.Prefix, "usr/bin/bochs-bin")
	args = append([]string{"--library-path", libs, "--preload", l.Shim, program}, args...)
	p := &Process{
		dir: l.Dir, conn: conn, cmd: exec.Command(loader, args...), clock: clock, every: cmp.Or(l.every, observeEvery),
		running: make(chan struct{}), done: make(chan struct{}),
	}
	p.cmd.Dir = l.Dir
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.ExtraFiles = []*os.File{com2, statusWriter, clock} // 3 to 5 in the child
	// The emulator does not inherit this program's environment, which could change
	// the emulated machine.
	p.cmd.Env = []string{
		"LC_ALL=C", "TZ=UTC0", // the machine's clock would follow the time zone
		"HOME=" + l.Dir, "TMPDIR=" + l.Dir,
		"BXSHARE=" + filepath.Join(l.Prefix, "usr/share/bochs"),
		"LTDL_LIBRARY_PATH=" + filepath.Join(libs, "bochs/plugins"),
		"HANGBENCH_COM2_FD=3", "HANGBENCH_STATUS_FD=4", "HANGBENCH_CLOCK_FD=5",
	}
	if l.saves() {
		p.cmd.Env = append(p.cmd.Env, "HANGBENCH_SAVE_AFTER="+l.save.after, "HANGBENCH_SAVE_DIR="+l.save.dir)
	}
	if l.Snapshot != nil && !l.saves() {
		p.cmd.Env = append(p.cmd.Env, "HANGBENCH_RAM_IMAGE="+l.Snapshot.file(ramFile))
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // a Ctrl-C in the terminal goes to this program alone
		Pdeathsig: syscall.SIGKILL, // sent when the thread that started it ends
	}

	started := make(chan error)
	go p.run(started, statusReader)
	if err := <-started; err != nil {
		conn.Close()
		statusReader.Close()
		clock.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { p.Close() })
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// layOut fills the run's folder and returns the emulator's arguments.
func (l Launch) layOut() ([]string, error) {
	if err := os.MkdirAll(l.Dir, 0o777); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(l.Dir); err != nil {
		return nil, err
	} else if len(entries) > 0 {
		return nil, fmt.Errorf("the run's folder %s is not empty", l.Dir)
	}
	share := filepath.Join(l.Prefix, "usr/share/bochs")
	for _, link := range []struct{ name, target string }{
		{discLink, l.Disc},
		{biosLink, filepath.Join(share, "BIOS-bochs-latest")},
		{vgaBIOSLink, filepath.Join(share, "VGABIOS-lgpl-latest")},
	} {
		if _, err := os.Stat(link.target); err != nil {
			return nil, err
		}
		if err := os.Symlink(link.target, filepath.Join(l.Dir, link.name)); err != nil {
			return nil, err
		}
	}
	if l.Snapshot != nil {
		if err := l.Snapshot.layOut(filepath.Join(l.Dir, stateDir), l.Machine, !l.saves()); err != nil {
			return nil, err
		}
		return []string{"-q", "-r", stateDir}, nil
	}
	if err := os.WriteFile(filepath.Join(l.Dir, configFile), []byte(l.Machine.Config()), 0o666); err != nil {
		return nil, err
	}
	return []string{"-q", "-f", configFile}, nil
}

// socketPair makes com2: this program's end and the emulator's.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "com2"), os.NewFile(uintptr(fds[1]), "com2")
	defer ours.Close() // FileConn makes a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// preload writes the job into the socket's buffer, before the emulator exists.
func preload(conn net.Conn, job []byte) error {
	if len(job) == 0 {
		return nil
	}
	if c, ok := conn.(*net.UnixConn); ok {
		// The kernel counts its own overhead too. If it grants less, Write fails below.
		if err := c.SetWriteBuffer(2 * MaxJob); err != nil {
			return fmt.Errorf("enlarge the serial port's buffer: %w", err)
		}
	}
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("send the job: %w", err)
	}
	if n, err := conn.Write(job); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("only %d of the job's %d bytes fit in the serial port's buffer: "+
			"raise the sysctl net.core.wmem_max to %d", n, len(job), 4*MaxJob)
	} else if err != nil {
		return fmt.Errorf("send the job: %w", err)
	}
	return conn.SetWriteDeadline(time.Time{})
}

// run starts the process and waits for its end, on one thread: the end of the thread
// would kill the process (Pdeathsig).
func (p *Process) run(started chan<- error, statusLine *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	status := make(chan string)
	go func() { status <- p.follow(statusLine) }()
	waitErr := p.cmd.Wait()
	shim := <-status
	if p.exit = exitError(p.cmd.ProcessState, shim); p.exit == nil {
		var exit *exec.ExitError
		if waitErr != nil && !errors.As(waitErr, &exit) {
			p.exit = waitErr
		}
	}
	close(p.done)
}

// follow reads the status line until the process ends, and returns the shim's reason
// for a failure, or "".
func (p *Process) follow(statusLine *os.File) (failed string) {
	defer statusLine.Close()
	lines := bufio.NewScanner(statusLine)
	running := false
	for lines.Scan() {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); {
		case word == "running" && !running:
			running = true
			close(p.running)
		case word == "saving":
			p.saving.Store(true)
		case word == "saved":
			p.saved = true
		case word == "failed":
			failed = rest
		}
	}
	return failed
}

// Conn returns this program's end of com2. Reading from it fails with io.EOF or
// net.ErrClosed when the machine has ended. If nobody reads and the socket's buffer
// is full, the machine and its clock stop until somebody does. [Process.Read] reads
// with a limit.
func (p *Process) Conn() net.Conn { return p.conn }

// PID returns the emulator's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Dir returns the run's folder.
func (p *Process) Dir() string { return p.dir }

// Done returns a channel that is closed when the emulator has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the emulator has ended. Unless it saves its state, it only ends
// by a failure or by [Process.Close]. The error is nil for exit status 0, and an
// [*ExitError] for any other end.
func (p *Process) Wait() error {
	<-p.done
	return p.exit
}

// Close kills the emulator if it runs, waits for its end, and closes com2.
func (p *Process) Close() error {
	p.closing.Do(func() {
		p.killed.Store(true)
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.closeErr = fmt.Errorf("kill the emulator (process %d): %w", p.PID(), err)
			p.conn.Close() // the emulator ends when com2 is closed
			return
		}
		<-p.done
		p.closeErr = errors.Join(p.conn.Close(), p.clock.Close())
	})
	return p.closeErr
}

// Explain returns a [*Failure] with the logs of this run for an error met while
// working with the machine, such as a deadline on com2. If the emulator has ended by
// itself, its end replaces err as the reason.
func (p *Process) Explain(op string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// com2 is closed, so the emulator has ended. Its exit status may come later.
		select {
		case <-p.done:
		case <-time.After(time.Second):
		}
	}
	select {
	case <-p.done:
		if p.saved || p.killed.Load() {
			break
		}
		if err = p.exit; err == nil {
			err = &ExitError{}
		}
	default:
	}
	return failure(p.dir, op, err)
}
