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
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hangbench/bench/agent"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// A lab that is "up" belongs to a process of its own, which listens on a unix
// socket in the cache. When that process ends, however it ends, the kernel ends
// the emulator.

// request is what a command asks of the keeper of a running lab.
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

// namedLab is one of the labs that may be up, by its flags.
type namedLab struct {
	labFlags
	name string
}

func (n *namedLab) add(f *pflag.FlagSet) {
	f.StringVar(&n.name, "name", "lab", "`name` of the running lab, when there are several")
	n.labFlags.add(f)
	n.labFlags.addLibVMI(f)
}

// parse parses the arguments and finds the cache.
func (n *namedLab) parse(env *Env, f *pflag.FlagSet, args []string, least, most int) (lab.Cache, error) {
	if err := parse(f, args, least, most); err != nil {
		return "", err
	}
	if !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(n.name) {
		return "", usagef("--name %q: use up to 32 of a-z, 0-9 and '-'", n.name)
	}
	return n.open(env)
}

func upDir(c lab.Cache) string { return filepath.Join(string(c), "up") }

// socketPath returns a path for a socket in dir that is short enough for the
// kernel's 108 bytes, whatever dir is. It is valid until closed.
func socketPath(dir, name string) (string, io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s.sock", f.Fd(), name), f, nil
}

// errNotUp says that no lab of that name runs.
var errNotUp = usagef("no lab of that name is running; start it with: hangbench lab up")

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

// keepCommand is the hidden word behind which "lab up" starts the keeper.
const keepCommand = "keep"

func labUp(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab up", "", "Start a lab that keeps running until \"hangbench lab down\".")
	var nl namedLab
	nl.add(f)
	keep := f.Bool(keepCommand, false, "be the keeper")
	f.MarkHidden(keepCommand)
	c, err := nl.parse(env, f, args, 0, 0)
	if err != nil {
		return err
	}
	if *keep {
		return keepLab(ctx, env, &nl.labFlags, c, nl.name)
	}
	if a, err := ask(c, nl.name, request{}); err == nil {
		return usagef("lab %s is up already (%s)", nl.name, a.Dir)
	}
	// What can fail slowly fails here, where the user sees it.
	p := newProgress(env, 0)
	h, err := nl.host(ctx, env, p)
	if err == nil {
		_, err = h.Base(ctx)
	}
	p.end()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logPath := filepath.Join(upDir(c), nl.name+".log")
	if err := os.MkdirAll(upDir(c), 0o700); err != nil {
		return err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(exe, append([]string{"lab", "up", "--" + keepCommand}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if a, err := ask(c, nl.name, request{}); err == nil {
			fmt.Fprintf(env.Stdout, "lab %s is up (%s)\n", nl.name, a.Dir)
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

// keepLab runs a machine and answers requests until it is told to stop.
func keepLab(ctx context.Context, env *Env, lf *labFlags, c lab.Cache, name string) error {
	h, err := lf.host(ctx, env, newProgress(env, 0))
	if err != nil {
		return err
	}
	m, err := h.Up(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	path, dir, err := socketPath(upDir(c), name)
	if err != nil {
		return err
	}
	defer dir.Close()
	os.Remove(path) // of a keeper that was killed; ask found nobody there
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	defer l.Close()
	go func() {
		select {
		case <-ctx.Done():
		case <-m.Done():
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
		stop := serve(conn, m, h.Lab.Manifest.Key())
		conn.Close()
		if stop {
			return nil
		}
	}
}

// serve answers one request.
func serve(conn net.Conn, m *labhost.Machine, key string) (stop bool) {
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
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

func labRun(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab run", "PROGRAM [ARGUMENT...]", "Run a program in dom0: \"xl list\", \"xl info\", \"xl dmesg\". In the running lab, if there is one, else in one started for it.")
	f.SetInterspersed(false)
	var nl namedLab
	nl.add(f)
	withGuest := f.Bool("guest", false, "in a lab started for it in which a guest is up, named guest")
	c, err := nl.parse(env, f, args, 1, 1000)
	if err != nil {
		return err
	}
	if *withGuest && f.Changed("name") {
		return usagef("lab run: --guest starts a lab of its own, --name is for one that runs")
	}
	var a answer
	if !*withGuest {
		a, err = ask(c, nl.name, request{Exec: f.Args()})
	}
	if *withGuest || errors.Is(err, errNotUp) && !f.Changed("name") {
		p := newProgress(env, 0)
		var h *labhost.Host
		var m *labhost.Machine
		if h, err = nl.host(ctx, env, p); err == nil {
			if *withGuest {
				m, err = h.UpGuest(ctx, defaultGuest())
			} else {
				m, err = h.Up(ctx)
			}
		}
		p.end()
		if err != nil {
			return err
		}
		defer m.Close()
		a.Output, err = m.Exec(f.Args())
	}
	if err != nil {
		return err
	}
	io.WriteString(env.Stdout, a.Output.Text)
	if a.Output.Status != 0 {
		fmt.Fprintf(env.Stderr, "hangbench: %s ended with status %d in dom0\n", f.Arg(0), a.Output.Status)
		return errFailed
	}
	return nil
}

func labConsole(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab console", "", "Print the console of the running lab's Xen and dom0.")
	var nl namedLab
	nl.add(f)
	follow := f.BoolP("follow", "f", false, "go on until interrupted")
	c, err := nl.parse(env, f, args, 0, 0)
	if err != nil {
		return err
	}
	a, err := ask(c, nl.name, request{})
	if err != nil {
		return err
	}
	path := filepath.Join(a.Dir, bochs.ConsoleLog)
	log, err := os.Open(path)
	for said := false; errors.Is(err, os.ErrNotExist); log, err = os.Open(path) {
		// The emulator makes the file with the first character.
		if !said {
			said = true
			fmt.Fprintln(env.Stderr, "nothing was written to the console since the lab was restored")
		}
		if !*follow {
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
		if _, err := io.Copy(env.Stdout, log); err != nil || !*follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func labDown(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab down", "", "Stop the running lab.")
	var nl namedLab
	nl.add(f)
	c, err := nl.parse(env, f, args, 0, 0)
	if err != nil {
		return err
	}
	a, err := ask(c, nl.name, request{Stop: true})
	if err != nil {
		return err
	}
	// The answer comes before the end; wait for it, so that "down" means down.
	for range 100 {
		if _, err := ask(c, nl.name, request{}); err != nil {
			fmt.Fprintf(env.Stdout, "lab %s is down\n", nl.name)
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the lab does not stop; its emulator is process %d", a.PID)
}

func labStatus(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab status", "", "Say what lies in the cache and which labs run.")
	var lf labFlags
	lf.add(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	c, err := lf.open(env)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "cache %s: %d MiB\n", c, diskMiB(string(c)))
	manifests, _ := filepath.Glob(filepath.Join(string(c), "labs", "*", lab.ManifestFile))
	sort.Strings(manifests)
	for _, m := range manifests {
		dir := filepath.Dir(m)
		snaps, _ := os.ReadDir(filepath.Join(dir, "snapshots"))
		var names []string
		for _, s := range snaps {
			names = append(names, s.Name())
		}
		fmt.Fprintf(env.Stdout, "  lab %s: %d MiB, snapshots: %s\n", filepath.Base(dir), diskMiB(dir), orNone(names))
	}
	if len(manifests) == 0 {
		fmt.Fprintln(env.Stdout, "  no lab; make one with: hangbench lab build")
	}
	socks, _ := filepath.Glob(filepath.Join(upDir(c), "*.sock"))
	up := 0
	for _, s := range socks {
		name := strings.TrimSuffix(filepath.Base(s), ".sock")
		a, err := ask(c, name, request{})
		if err != nil {
			continue
		}
		up++
		fmt.Fprintf(env.Stdout, "up: %s (lab %s, emulator is process %d, logs in %s)\n", name, a.Lab, a.PID, a.Dir)
	}
	if up == 0 {
		fmt.Fprintln(env.Stdout, "nothing is running")
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// diskMiB is what a folder takes on disk, holes not counted.
func diskMiB(dir string) int64 {
	var blocks int64
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // it may be going away just now
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			blocks += st.Blocks
		}
		return nil
	})
	return blocks * 512 / (1 << 20)
}
