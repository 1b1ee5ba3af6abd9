package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
)

// A lab that is up has a process of its own, the keeper, which listens on a unix
// socket in the cache and holds a lock beside it. When the keeper ends, for any reason,
// the kernel releases the lock and ends the emulator.
//
// A client connects, sends one request as JSON and gets answers, the last of which has
// End set. When a client goes away, the program that it has asked for is stopped.

// request is a request to the keeper. One without a field asks how the lab is.
type request struct {
	Exec []string `json:"exec,omitempty"` // run a program in dom0
	Stop bool     `json:"stop,omitempty"` // end the lab
}

// answer is one answer of the keeper.
type answer struct {
	Name string `json:"name"`
	Lab  string `json:"lab,omitempty"` // its key; empty while the lab is being started
	Dir  string `json:"dir,omitempty"` // the machine's logs
	PID  int    `json:"pid,omitempty"` // the emulator
	// Busy is the program that runs in dom0, BusySec for how long.
	Busy    []string `json:"busy,omitempty"`
	BusySec int      `json:"busy_sec,omitempty"`

	Stdout []byte `json:"stdout,omitempty"` // of the program of Exec
	Stderr []byte `json:"stderr,omitempty"`

	End    bool   `json:"end,omitempty"` // it is the last answer
	Status int    `json:"status"`        // of the program of Exec
	Error  string `json:"error,omitempty"`
	Usage  bool   `json:"usage,omitempty"` // Error is a mistake of the user

	keeper int // process id, from the kernel
}

// busy says what the lab does, or nothing if it waits.
func (a answer) busy() string {
	switch {
	case a.Lab == "":
		return "being started"
	case len(a.Busy) > 0:
		return fmt.Sprintf("busy with %s for %v", strings.Join(a.Busy, " "), time.Duration(a.BusySec)*time.Second)
	}
	return ""
}

// upDir is the folder of the sockets, locks and logs of keepers.
func upDir(c lab.Cache) string { return filepath.Join(string(c), "up") }

// socketPath returns a path for a socket in dir. It has less than the 108 bytes that
// the kernel accepts, also if the path of dir is longer. It is valid until the closer
// is closed.
func socketPath(dir, name string) (string, io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s.sock", f.Fd(), name), f, nil
}

// errNotUp says that no lab of that name runs.
var errNotUp = exit.Usagef("no lab of that name is running; start it with: hangbench lab up")

// answerPatience is how long a keeper may take for an answer that needs nothing of the
// machine. It answers at once, unless it was stopped or this machine is very busy.
const answerPatience = 8 * time.Second

// ask sends a request to the keeper of a running lab and returns its last answer. A
// program's output goes to each, with the answers before the last. When ctx ends, the
// connection is closed.
func ask(ctx context.Context, c lab.Cache, name string, r request, each func(answer) error) (answer, error) {
	path, dir, err := socketPath(upDir(c), name)
	if errors.Is(err, os.ErrNotExist) {
		return answer{}, errNotUp
	}
	if err != nil {
		return answer{}, err
	}
	defer dir.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return answer{}, errNotUp
	}
	if err != nil {
		return answer{}, fmt.Errorf("reach the running lab: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	pid := listener(conn.(*net.UnixConn))
	fail := func(err error) (answer, error) {
		switch {
		case ctx.Err() != nil:
			return answer{}, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return answer{}, fmt.Errorf("lab %s does not answer: its keeper, process %d, was stopped, or hangs; "+
				"go on with kill -CONT %[2]d, or end it and its emulator with kill -9 %[2]d", name, pid)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET),
			errors.Is(err, unix.EPIPE):
			return answer{}, fmt.Errorf("lab %s has ended before it answered; see %s", name, logPath(c, name))
		}
		return answer{}, fmt.Errorf("hear from the running lab: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(answerPatience)); err != nil {
		return fail(err)
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return fail(err)
	}
	for in := json.NewDecoder(conn); ; {
		a := answer{keeper: pid}
		if err := in.Decode(&a); err != nil {
			return fail(err)
		}
		switch {
		case a.End && a.Error != "" && a.Usage:
			return a, exit.Usagef("%s", a.Error)
		case a.End && a.Error != "":
			return a, errors.New(a.Error)
		case a.End:
			return a, nil
		}
		// The keeper lives. What follows takes as long as it takes.
		if err := conn.SetDeadline(time.Time{}); err != nil {
			return fail(err)
		}
		if each == nil {
			continue
		}
		if err := each(a); err != nil {
			return a, err
		}
	}
}

// listener returns the process id of the listener at the other end.
func listener(conn *net.UnixConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	raw.Control(func(fd uintptr) {
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(c.Pid)
		}
	})
	return pid
}

// logPath is the path of the log of the keepers of one name.
func logPath(c lab.Cache, name string) string { return filepath.Join(upDir(c), name+".log") }

// errTaken says that another keeper has the name.
var errTaken = exit.Usagef("another lab of that name is up, or being started")

// listen takes the name of a lab and listens on its socket. Of several keepers that call
// it at once one gets the name; for the others the error is errTaken. close gives the
// name back.
func listen(ctx context.Context, c lab.Cache, name string) (l net.Listener, release func(), err error) {
	dir := upDir(c)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := takeName(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	path, d, err := socketPath(dir, name)
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	release = func() {
		os.Remove(filepath.Join(dir, name+".sock"))
		d.Close()
		lock.Close()
	}
	os.Remove(path) // of a keeper that was killed: the lock is ours
	if l, err = net.Listen("unix", path); err != nil {
		release()
		return nil, nil, fmt.Errorf("listen for requests: %w", err)
	}
	return l, release, nil
}

// takeName locks the name of a lab until the file is closed. A keeper that ends may
// still hold the lock for a moment: then nobody answers.
func takeName(ctx context.Context, c lab.Cache, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(upDir(c), name+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err == unix.EWOULDBLOCK {
			if _, err = ask(ctx, c, name, request{}, nil); err == nil {
				err = errTaken
			}
		}
		if err != unix.EINTR && !errors.Is(err, errNotUp) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// machine is the part of a labhost.Machine that a keeper needs.
type machine interface {
	Run(ctx context.Context, argv []string, stdout, stderr io.Writer) (status int, err error)
	Done() <-chan struct{} // closed when the emulator has ended
	PID() int
	Dir() string
	Close() error
}

// keeper answers requests.
type keeper struct {
	name string
	stop context.CancelCauseFunc // begins the end of the lab
	// ended is closed when the lab has ended and its name is free.
	ended chan struct{}
	turn  chan struct{} // holds a value while a program runs

	mu    sync.Mutex
	m     machine // nil while the lab is being started
	lab   string
	busy  []string
	since time.Time
}

func newKeeper(name string) *keeper {
	return &keeper{name: name, ended: make(chan struct{}), turn: make(chan struct{}, 1)}
}

// errStopped ends a lab that a client has told to stop.
var errStopped = errors.New("the lab was stopped")

// keep starts a machine with start and answers requests on l until one says to stop, or
// ctx or the emulator ends. It then closes l and calls release.
func (k *keeper) keep(ctx context.Context, l net.Listener, start func(context.Context) (machine, string, error),
	release func()) error {
	running, stop := context.WithCancelCause(ctx)
	k.stop = stop
	var clients sync.WaitGroup
	clients.Go(func() { k.serve(running, l, &clients) })
	err := k.run(running, start)
	stop(err)
	l.Close()
	release()
	close(k.ended)
	clients.Wait()
	if context.Cause(running) == errStopped {
		return nil
	}
	return err
}

// run starts the machine, waits for the end, and closes it.
func (k *keeper) run(ctx context.Context, start func(context.Context) (machine, string, error)) error {
	m, key, err := start(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.m, k.lab = m, key
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-m.Done():
		err = fmt.Errorf("the emulator ended by itself; its logs are in %s", m.Dir())
	}
	return errors.Join(err, m.Close())
}

// maxClients is how many clients a keeper serves at a time. Others are sent away.
const maxClients = 64

// serve answers each client in a goroutine of its own until the listener is closed.
func (k *keeper) serve(ctx context.Context, l net.Listener, clients *sync.WaitGroup) {
	places := make(chan struct{}, maxClients)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Such as a lack of descriptors, which ends when clients do.
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		clients.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			k.client(ctx, conn)
		})
	}
}

// requestPatience is how long a client may take to send its request, and endPatience how
// long it may leave the last answer unread. A socket takes that answer at once, unless
// the client has left others unread.
const (
	requestPatience = 10 * time.Second
	endPatience     = time.Second
)

// client answers one client. Who sends no request, or one that cannot be read, gets no
// answer.
func (k *keeper) client(ctx context.Context, conn net.Conn) {
	conn.SetReadDeadline(time.Now().Add(requestPatience))
	var r request
	if json.NewDecoder(io.LimitReader(conn, 1<<20)).Decode(&r) != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	// At the end of the lab nobody waits for a client.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now().Add(endPatience)) })()
	a := k.status()
	switch {
	case r.Stop:
		json.NewEncoder(conn).Encode(a) // it will be done
		k.stop(errStopped)
		<-k.ended
	case len(r.Exec) > 0:
		a = k.exec(ctx, conn, r.Exec)
	}
	a.End = true
	conn.SetWriteDeadline(time.Now().Add(endPatience))
	json.NewEncoder(conn).Encode(a)
}

// status says how the lab is.
func (k *keeper) status() answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := answer{Name: k.name, Lab: k.lab, Busy: k.busy}
	if k.m != nil {
		a.Dir, a.PID = k.m.Dir(), k.m.PID()
	}
	if len(k.busy) > 0 {
		a.BusySec = int(time.Since(k.since).Seconds())
	}
	return a
}

// exec runs a program for a client, after those of other clients.
func (k *keeper) exec(ctx context.Context, conn net.Conn, argv []string) answer {
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	go func() {
		// A client sends nothing more. It ends its connection, or is ended.
		io.Copy(io.Discard, conn)
		gone(errors.New("the client has gone away"))
	}()
	out := json.NewEncoder(conn)
	select {
	case k.turn <- struct{}{}:
	default:
		out.Encode(k.status()) // it has to wait
		select {
		case k.turn <- struct{}{}:
		case <-ctx.Done():
			return answer{Error: context.Cause(ctx).Error()}
		}
	}
	defer func() { <-k.turn }()
	k.mu.Lock()
	m := k.m
	if m != nil {
		k.busy, k.since = argv, time.Now()
	}
	k.mu.Unlock()
	if m == nil {
		return answer{Error: fmt.Sprintf("lab %s is being started: try again in a moment", k.name)}
	}
	defer func() {
		k.mu.Lock()
		k.busy = nil
		k.mu.Unlock()
	}()
	out.Encode(k.status()) // it begins
	stdout := writerOf(func(b []byte) error { return out.Encode(answer{Stdout: b}) })
	stderr := writerOf(func(b []byte) error { return out.Encode(answer{Stderr: b}) })
	status, err := m.Run(ctx, argv, stdout, stderr)
	a := answer{Status: status}
	if cause := context.Cause(ctx); cause != nil {
		a.Error = cause.Error()
	} else if err != nil {
		a.Error = err.Error()
		failed := (*labhost.AgentError)(nil)
		a.Usage = errors.As(err, &failed) && failed.NoProgram
	}
	return a
}

// writerOf is a writer that calls a function with all that is written.
type writerOf func([]byte) error

func (w writerOf) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
