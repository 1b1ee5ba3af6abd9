package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hangbench/bench/agent"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// A lab that is up has a process of its own, the keeper, which listens on a unix
// socket in the cache. When the keeper ends, for any reason, the kernel ends the
// emulator.

// request is a request to the keeper of a running lab.
type request struct {
	Exec []string `json:"exec,omitempty"` // run a program in dom0
	Stop bool     `json:"stop,omitempty"` // end the lab
}

// answer is the keeper's reply.
type answer struct {
	Output agent.Output `json:"output"`
	Dir    string       `json:"dir"` // the machine's logs
	PID    int          `json:"pid"` // the emulator
	Lab    string       `json:"lab"`
	Error  string       `json:"error,omitempty"`
}

// namedLab are the flags that select one of the running labs.
type namedLab struct {
	labFlags
	name string
}

func (n *namedLab) add(c *cobra.Command) {
	c.Flags().StringVar(&n.name, "name", "lab", "`name` of the running lab, when there are several")
	n.labFlags.add(c)
	n.labFlags.addLibVMI(c)
}

// cache checks the lab's name and finds the cache.
func (n *namedLab) cache(env *Env) (lab.Cache, error) {
	if !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(n.name) {
		return "", exit.Usagef("--name %q: use up to 32 of a-z, 0-9 and '-'", n.name)
	}
	return n.open(env)
}

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

// ask sends a request to the keeper of a running lab.
func ask(c lab.Cache, name string, r request) (answer, error) {
	var a answer
	path, dir, err := socketPath(upDir(c), name)
	if errors.Is(err, os.ErrNotExist) {
		return a, errNotUp
	}
	if err != nil {
		return a, err
	}
	defer dir.Close()
	conn, err := net.Dial("unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return a, errNotUp
	}
	if err != nil {
		return a, fmt.Errorf("reach the running lab: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Minute))
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return a, fmt.Errorf("reach the running lab: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return a, fmt.Errorf("hear from the running lab: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// keepCommand is the hidden flag with which "lab up" starts the keeper.
const keepCommand = "keep"

func (a *app) labUp() *cobra.Command {
	c := a.command("up", "start a lab and keep it running",
		`Start a lab that keeps running until "hangbench lab down".`, 0, 0)
	var nl namedLab
	nl.add(c)
	keep := c.Flags().Bool(keepCommand, false, "be the keeper")
	hide(c, keepCommand)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cache, err := nl.cache(a.Env)
		switch {
		case err != nil:
			return err
		case *keep:
			return nl.keep(c.Context(), a, cache)
		}
		return nl.up(c.Context(), a, cache)
	}
	return c
}

// hide hides a flag from help.
func hide(c *cobra.Command, flag string) { c.Flags().Lookup(flag).Hidden = true }

// up starts the keeper of a lab and waits until it answers.
func (n *namedLab) up(ctx context.Context, a *app, c lab.Cache) error {
	if up, err := ask(c, n.name, request{}); err == nil {
		return exit.Usagef("lab %s is up already (%s)", n.name, up.Dir)
	}
	// Build and boot the lab here: what can go wrong is shown to the user.
	h, err := n.host(ctx, a)
	if err == nil {
		_, err = h.Base(ctx)
	}
	if err != nil {
		return err
	}
	a.display.End()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logPath := filepath.Join(upDir(c), n.name+".log")
	if err := os.MkdirAll(upDir(c), 0o700); err != nil {
		return err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(exe, append(slices.Clone(a.args), "--"+keepCommand)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if up, err := ask(c, n.name, request{}); err == nil {
			fmt.Fprintf(a.out, "lab %s is up (%s)\n", n.name, up.Dir)
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("the lab ended at once: %w: %s", err, strings.TrimSpace(string(text)))
		case <-ctx.Done():
			cmd.Process.Kill()
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			return fmt.Errorf("the lab did not come up within two minutes; see %s", logPath)
		}
	}
}

// keep runs a machine and answers requests until it is told to stop.
func (n *namedLab) keep(ctx context.Context, a *app, c lab.Cache) error {
	h, err := n.host(ctx, a)
	if err != nil {
		return err
	}
	m, err := h.Up(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	path, dir, err := socketPath(upDir(c), n.name)
	if err != nil {
		return err
	}
	defer dir.Close()
	os.Remove(path) // of a keeper that was killed; ask found nobody there
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	return serve(ctx, l, m, h.Lab.Manifest.Key())
}

// machine is the part of a labhost.Machine that a keeper needs.
type machine interface {
	Exec(argv []string) (agent.Output, error)
	Done() <-chan struct{} // closed when the emulator has ended
	PID() int
	Dir() string
}

// serve answers requests until one says to stop. It closes the listener. The error is
// ctx's if ctx ends first.
func serve(ctx context.Context, l net.Listener, m machine, key string) error {
	defer l.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
		case <-m.Done():
		case <-ended:
		}
		l.Close()
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil {
				return fmt.Errorf("the emulator ended by itself; its logs are in %s", m.Dir())
			}
			return ctx.Err()
		}
		stop := serveOne(conn, m, key)
		conn.Close()
		if stop {
			return nil
		}
	}
}

// requestPatience is how long a client may take to send its request.
const requestPatience = 10 * time.Second

// serveOne answers one request, and reports whether it says to stop. Who sends none, or
// one that cannot be read, gets no answer.
func serveOne(conn net.Conn, m machine, key string) (stop bool) {
	conn.SetReadDeadline(time.Now().Add(requestPatience))
	var r request
	if json.NewDecoder(io.LimitReader(conn, 1<<20)).Decode(&r) != nil {
		return false
	}
	a := answer{Dir: m.Dir(), PID: m.PID(), Lab: key}
	if len(r.Exec) > 0 {
		out, err := m.Exec(r.Exec)
		a.Output = out
		if err != nil {
			a.Error = err.Error()
		}
	}
	json.NewEncoder(conn).Encode(a)
	return r.Stop
}

// labRun is the command "lab run".
type labRun struct {
	namedLab
	guest bool // in a lab of its own, with a guest
	named bool // the user has named the lab
}

func (a *app) labRun() *cobra.Command {
	c := a.command("run PROGRAM [ARGUMENT...]", "run a program in dom0 of the running lab, or of one started for it",
		`Run a program in dom0: "xl list", "xl info", "xl dmesg". In the running lab if there is one, else in one started `+
			"for it.", 1, 1000)
	c.Flags().SetInterspersed(false)
	var r labRun
	r.add(c)
	c.Flags().BoolVar(&r.guest, "guest", false, "in a lab started for it in which a guest is up, named guest")
	c.RunE = func(c *cobra.Command, args []string) error {
		r.named = c.Flags().Changed("name")
		return r.run(c.Context(), a, args)
	}
	return c
}

func (r *labRun) run(ctx context.Context, a *app, program []string) error {
	c, err := r.cache(a.Env)
	if err != nil {
		return err
	}
	if r.guest && r.named {
		return exit.Usagef("lab run: --guest starts a lab of its own, --name is for one that runs")
	}
	var said answer
	if !r.guest {
		said, err = ask(c, r.name, request{Exec: program})
	}
	if r.guest || errors.Is(err, errNotUp) && !r.named {
		said.Output, err = r.once(ctx, a, program)
	}
	if err != nil {
		return err
	}
	io.WriteString(a.Stderr, said.Output.Stderr)
	io.WriteString(a.out, said.Output.Stdout)
	if said.Output.Status != 0 {
		fmt.Fprintf(a.Stderr, "hangbench: %s ended with status %d in dom0\n", program[0], said.Output.Status)
		return exit.ErrFailed
	}
	return nil
}

// once runs the program in a lab started for it.
func (r *labRun) once(ctx context.Context, a *app, program []string) (out agent.Output, err error) {
	h, err := r.host(ctx, a)
	if err != nil {
		return out, err
	}
	var m *labhost.Machine
	if r.guest {
		m, err = h.UpGuest(ctx, defaultGuest())
	} else {
		m, err = h.Up(ctx)
	}
	if err != nil {
		return out, err
	}
	defer m.Close()
	a.display.End()
	return m.Exec(program)
}

func (a *app) labConsole() *cobra.Command {
	c := a.command("console", "print the console of the running lab's Xen and dom0",
		"Print the console of the running lab's Xen and dom0.", 0, 0)
	var nl namedLab
	nl.add(c)
	follow := c.Flags().BoolP("follow", "f", false, "go on until interrupted")
	c.RunE = func(c *cobra.Command, _ []string) error { return nl.console(c.Context(), a, *follow) }
	return c
}

func (n *namedLab) console(ctx context.Context, a *app, follow bool) error {
	c, err := n.cache(a.Env)
	if err != nil {
		return err
	}
	up, err := ask(c, n.name, request{})
	if err != nil {
		return err
	}
	path := filepath.Join(up.Dir, bochs.ConsoleLog)
	log, err := os.Open(path)
	for said := false; errors.Is(err, os.ErrNotExist); log, err = os.Open(path) {
		// The emulator creates the file with the first character of the console.
		if !said {
			said = true
			fmt.Fprintln(a.Stderr, "nothing was written to the console since the lab was restored")
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err != nil {
		return fmt.Errorf("read the console: %w", err)
	}
	defer log.Close()
	for {
		if _, err := io.Copy(a.out, log); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *app) labDown() *cobra.Command {
	c := a.command("down", "stop the running lab", "Stop the running lab.", 0, 0)
	var nl namedLab
	nl.add(c)
	c.RunE = func(*cobra.Command, []string) error { return nl.down(a) }
	return c
}

func (n *namedLab) down(a *app) error {
	c, err := n.cache(a.Env)
	if err != nil {
		return err
	}
	up, err := ask(c, n.name, request{Stop: true})
	if err != nil {
		return err
	}
	// The keeper answers before it ends. Wait for its end.
	for range 100 {
		if _, err := ask(c, n.name, request{}); err != nil {
			fmt.Fprintf(a.out, "lab %s is down\n", n.name)
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the lab does not stop; its emulator is process %d", up.PID)
}

func (a *app) labStatus() *cobra.Command {
	c := a.command("status", "say what is in the cache and what runs",
		"Say what is in the cache and which labs run.", 0, 0)
	var lf labFlags
	lf.add(c)
	c.RunE = func(*cobra.Command, []string) error { return lf.status(a) }
	return c
}

func (l *labFlags) status(a *app) error {
	c, err := l.open(a.Env)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "cache %s: %d MiB\n", c, diskMiB(string(c)))
	manifests, _ := filepath.Glob(filepath.Join(string(c), "labs", "*", lab.ManifestFile))
	sort.Strings(manifests)
	for _, m := range manifests {
		dir := filepath.Dir(m)
		snaps, _ := os.ReadDir(filepath.Join(dir, "snapshots"))
		var names []string
		for _, s := range snaps {
			names = append(names, s.Name())
		}
		fmt.Fprintf(a.out, "  lab %s: %d MiB, snapshots: %s\n", filepath.Base(dir), diskMiB(dir), orNone(names))
	}
	if len(manifests) == 0 {
		fmt.Fprintln(a.out, "  no lab; make one with: hangbench lab build")
	}
	socks, _ := filepath.Glob(filepath.Join(upDir(c), "*.sock"))
	running := 0
	for _, s := range socks {
		name := strings.TrimSuffix(filepath.Base(s), ".sock")
		up, err := ask(c, name, request{})
		if err != nil {
			continue
		}
		running++
		fmt.Fprintf(a.out, "up: %s (lab %s, emulator is process %d, logs in %s)\n", name, up.Lab, up.PID, up.Dir)
	}
	if running == 0 {
		fmt.Fprintln(a.out, "nothing is running")
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// diskMiB is the size of a folder on disk in MiB, without the holes of files.
func diskMiB(dir string) int64 {
	var blocks int64
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // it may have been removed just now
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			blocks += st.Blocks
		}
		return nil
	})
	return blocks * 512 / (1 << 20)
}
