package bochs

import (
	"bufio"
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

// MaxJob is the largest [Launch.Job] in bytes. It has to fit the buffer of a
// unix socket under Linux' default limits.
const MaxJob = 128 << 10

// Launch is what it takes to start a machine.
type Launch struct {
	// Prefix is the folder in which the packages bochs, bochsbios and vgabios and
	// the libraries they need have been unpacked.
	Prefix string
	// Shim is the library that [BuildShim] made.
	Shim string
	// Disc is the image of the CD-ROM the machine boots from.
	Disc string
	// Machine is what is emulated.
	Machine Machine
	// Dir is the run's folder, for configuration and logs. It is made, and must be
	// empty or not there.
	Dir string
	// Snapshot is the state to go on from. Without one the machine boots.
	Snapshot *Snapshot
	// Job is what com2 receives, from the first instruction on, at most MaxJob
	// bytes. A machine that boots loses the first 16 or so when its kernel resets
	// the port, see wire.Writer.Sync.
	Job []byte

	save savePoint
}

// savePoint says when to save the state, and where.
type savePoint struct {
	after string // beginning of com2's line; empty for never
	dir   string
}

// saves reports whether the machine's state will be saved.
func (l Launch) saves() bool { return l.save.after != "" }

// Process is an emulator at work. Its methods can be called from any goroutine.
type Process struct {
	dir  string
	conn net.Conn
	cmd  *exec.Cmd

	running chan struct{} // closed at the first virtual millisecond
	done    chan struct{} // closed when the process has been waited for
	// These are valid once done is closed.
	exit  error
	saved bool

	killed   atomic.Bool // by Close
	closing  sync.Once
	closeErr error
}

// startTimeout is how long a machine may take to its first virtual millisecond:
// a few seconds if it is restored from a cold disk on a busy host.
const startTimeout = 2 * time.Minute

// Start starts a machine and returns when it runs: a booted one is in its BIOS
// then, a restored one where it was saved. The emulator is killed when ctx is
// done, at any time, or when this program ends, however that happens.
//
// An error is a [*SnapshotError] when the machine could not be restored from
// l.Snapshot, and a [*Failure] whenever the emulator has been started.
func Start(ctx context.Context, l Launch) (*Process, error) {
	p, err := l.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the emulator: %w", err)
	}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-p.running:
		return p, nil
	case <-p.done:
		err = p.Wait()
	case <-timeout.C:
		err = fmt.Errorf("it does not run after %v", startTimeout)
	case <-ctx.Done():
	}
	p.Close()
	if ctx.Err() != nil {
		return nil, p.Explain("start the emulator", context.Cause(ctx))
	}
	err = p.Explain("start the emulator", err)
	if l.Snapshot != nil {
		err = &SnapshotError{Dir: l.Snapshot.Dir, Err: err}
	}
	return nil, err
}

// start lays out the run's folder and starts the process.
func (l Launch) start(ctx context.Context) (*Process, error) {
	if err := l.Machine.Validate(); err != nil {
		return nil, err
	}
	if len(l.Job) > MaxJob {
		return nil, fmt.Errorf("the job has %d bytes, but only %d fit the serial port's buffer", len(l.Job), MaxJob)
	}
	for _, path := range []*string{&l.Prefix, &l.Shim, &l.Disc, &l.Dir} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	// The dynamic loader takes these for separators in lists of paths.
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
	output, err := os.Create(filepath.Join(l.Dir, OutputLog))
	if err != nil {
		conn.Close()
		statusReader.Close()
		return nil, err
	}
	defer output.Close()

	loader, libs := toolchain.Loader(l.Prefix)
	args = append([]string{"--library-path", libs, "--preload", l.Shim, filepath.Join(l.Prefix, "usr/bin/bochs-bin")}, args...)
	p := &Process{
		dir: l.Dir, conn: conn, cmd: exec.Command(loader, args...),
		running: make(chan struct{}), done: make(chan struct{}),
	}
	p.cmd.Dir = l.Dir
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.ExtraFiles = []*os.File{com2, statusWriter} // 3 and 4 in the child
	// Nothing of this program's environment can change what is emulated.
	p.cmd.Env = []string{
		"LC_ALL=C", "TZ=UTC0", // the machine's clock would follow the time zone
		"HOME=" + l.Dir, "TMPDIR=" + l.Dir,
		"BXSHARE=" + filepath.Join(l.Prefix, "usr/share/bochs"),
		"LTDL_LIBRARY_PATH=" + filepath.Join(libs, "bochs/plugins"),
		"HANGBENCH_COM2_FD=3", "HANGBENCH_STATUS_FD=4",
	}
	if l.saves() {
		p.cmd.Env = append(p.cmd.Env, "HANGBENCH_SAVE_AFTER="+l.save.after, "HANGBENCH_SAVE_DIR="+l.save.dir)
	}
	if l.Snapshot != nil && !l.saves() {
		p.cmd.Env = append(p.cmd.Env, "HANGBENCH_RAM_IMAGE="+l.Snapshot.file(ramFile))
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // a terminal's Ctrl-C is this program's to handle
		Pdeathsig: syscall.SIGKILL, // comes when the thread ends that started it
	}

	started := make(chan error)
	go p.run(started, statusReader)
	if err := <-started; err != nil {
		conn.Close()
		statusReader.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { p.Close() })
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// layOut fills the run's folder and returns Bochs' arguments.
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

// socketPair makes com2: our end and the emulator's.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "com2"), os.NewFile(uintptr(fds[1]), "com2")
	defer ours.Close() // FileConn takes a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// preload puts the job into the socket's buffer, from which nobody reads yet.
func preload(conn net.Conn, job []byte) error {
	if len(job) == 0 {
		return nil
	}
	if c, ok := conn.(*net.UnixConn); ok {
		// The kernel counts its bookkeeping too. What it grants is seen below.
		if err := c.SetWriteBuffer(2 * MaxJob); err != nil {
			return fmt.Errorf("make room for the job: %w", err)
		}
	}
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("send the job: %w", err)
	}
	if n, err := conn.Write(job); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("only %d of the job's %d bytes fit the serial port's buffer: raise the sysctl net.core.wmem_max to %d", n, len(job), 4*MaxJob)
	} else if err != nil {
		return fmt.Errorf("send the job: %w", err)
	}
	return conn.SetWriteDeadline(time.Time{})
}

// run starts the process, and stays with it on one thread until it has ended.
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

// follow reads the status line to its end, which comes when the process is
// gone, and returns what the shim has to say about a failure.
func (p *Process) follow(statusLine *os.File) (failed string) {
	defer statusLine.Close()
	lines := bufio.NewScanner(statusLine)
	running := false
	for lines.Scan() {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); {
		case word == "running" && !running:
			running = true
			close(p.running)
		case word == "saved":
			p.saved = true
		case word == "failed":
			failed = rest
		}
	}
	return failed
}

// Conn is the harness's end of com2. Reading from it fails with io.EOF or
// net.ErrClosed once the machine has ended. As long as nobody reads the machine
// stands still when the socket's buffer is full; its clock stands still too.
func (p *Process) Conn() net.Conn { return p.conn }

// PID is the emulator's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Dir is the run's folder.
func (p *Process) Dir() string { return p.dir }

// Done is closed when the emulator has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the emulator has ended, which a machine that is not told to
// save its state only does by failing or by [Process.Close]. The error is an
// [*ExitError] unless the exit status is 0.
func (p *Process) Wait() error {
	<-p.done
	return p.exit
}

// Close kills the emulator, if it still runs, waits for its end and closes com2.
func (p *Process) Close() error {
	p.closing.Do(func() {
		p.killed.Store(true)
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.closeErr = fmt.Errorf("kill the emulator (process %d): %w", p.PID(), err)
			p.conn.Close() // which ends it as well
			return
		}
		<-p.done
		p.closeErr = p.conn.Close()
	})
	return p.closeErr
}

// Explain wraps an error that stopped somebody who worked with the machine, such
// as a deadline on com2, into a [*Failure] with the evidence of this run. If the
// emulator has ended by itself, that is given as the reason in its place.
func (p *Process) Explain(op string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// The emulator is gone, or com2 would still be open. The end of the process
		// may be known a little later.
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
