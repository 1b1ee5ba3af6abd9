package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
)

const measurePart = "measure"

// measure starts the ordered work in a process of its own: PID 1 must stay free
// for other requests.
func (s *supervisor) measure() error {
	_, token, _ := s.page.Asked() // of this request, which PID 1 has just answered
	if stress.Workload(s.page.Ordered().Work) == stress.Disk {
		if err := s.needFileSystem(); err != nil {
			fmt.Fprintf(os.Stderr, "hangbench-init: measure: %v\n", err)
			s.page.Deliver(token, beat.Sample{Failed: true})
			return nil
		}
	}
	cmd := s.command(measurePart, strconv.FormatUint(token, 10))
	cmd.Stdout = os.Stdout
	if err := startOn(s.all, cmd); err != nil {
		return fmt.Errorf("start a measured workload: %w", err)
	}
	s.workers = append(s.workers, cmd)
	return nil
}

// measureOnce does the ordered work and delivers the result under the token, its
// only argument.
func measureOnce(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("measure: %d arguments instead of a token", len(args))
	}
	token, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return fmt.Errorf("measure: %q is no token", args[0])
	}
	page, err := mapPage(pageFD)
	if err != nil {
		return err
	}
	sample, err := work(page.Ordered())
	if err != nil {
		page.Deliver(token, beat.Sample{Failed: true})
		return fmt.Errorf("measure: %w", err)
	}
	page.Deliver(token, sample)
	return nil
}

// work does the ordered work and returns its result.
func work(o beat.Order) (beat.Sample, error) {
	w := stress.Workload(o.Work)
	if !w.Known() || o.Seconds < 1 || o.Seconds > stress.Most {
		return beat.Sample{}, fmt.Errorf("%v for %d seconds: want a known workload and 1 to %d seconds", w, o.Seconds,
			stress.Most)
	}
	if w.Stressor() == "" {
		return naps(time.Duration(o.Seconds) * time.Second)
	}
	return stressNG(w, int(o.Seconds))
}

// nap is the time between two deadlines of naps.
const nap = 10 * time.Millisecond

// naps sleeps until one deadline after another, a nap apart, for a time d, and
// counts them. Deadlines are absolute, so a late wake-up does not delay the
// following ones.
func naps(d time.Duration) (beat.Sample, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return beat.Sample{}, fmt.Errorf("read the clock: %w", err)
	}
	var s beat.Sample
	start := ts.Nano()
	for next := start; next < start+int64(d); s.Ops++ {
		next += int64(nap)
		until := unix.NsecToTimespec(next)
		for {
			err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil)
			if err == nil {
				break
			}
			if err != unix.EINTR {
				return beat.Sample{}, fmt.Errorf("sleep: %w", err)
			}
		}
	}
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return beat.Sample{}, fmt.Errorf("read the clock: %w", err)
	}
	s.NS = uint64(ts.Nano() - start)
	return s, nil
}

// resultFile is the file to which stress-ng writes its result.
const resultFile = "/" + stress.Scratch + "/result.yaml"

// stressNG runs stress-ng on all vCPUs and returns its result.
func stressNG(w stress.Workload, seconds int) (beat.Sample, error) {
	cpus, err := onlineCPUs()
	if err != nil {
		return beat.Sample{}, err
	}
	if err := os.Remove(resultFile); err != nil && !os.IsNotExist(err) {
		return beat.Sample{}, err
	}
	cmd := exec.Command("/"+stress.Program, w.Args(cpus, seconds, resultFile)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Dir = "/" + stress.Scratch
	cmd.Env = []string{} // not PID 1's
	if err := cmd.Run(); err != nil {
		return beat.Sample{}, fmt.Errorf("stress-ng: %w", err)
	}
	f, err := os.Open(resultFile)
	if err != nil {
		return beat.Sample{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return beat.Sample{}, err
	}
	r, err := stress.Parse(b)
	if err != nil {
		return beat.Sample{}, err
	}
	if r.Stressor != w.Stressor() {
		return beat.Sample{}, fmt.Errorf("stress-ng ran %s instead of %s", r.Stressor, w.Stressor())
	}
	return beat.Sample{Ops: r.Ops, NS: uint64(r.Real), Version: uint64(r.Version)}, nil
}

// needFileSystem makes a file system on the disk and mounts it, the first time.
func (s *supervisor) needFileSystem() error {
	if s.mounted {
		return nil
	}
	if s.swap || s.written {
		return errors.New("the disk is in use already")
	}
	if err := s.needDisk(); err != nil {
		return err
	}
	if err := fill(diskPath); err != nil {
		return err
	}
	// Without a journal and without work left for the background: the workload's own
	// writes are measured, and no others.
	mkfs := exec.Command("/"+stress.MakeFS, "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-b", "4096",
		"-E", "nodiscard,lazy_itable_init=0", diskPath)
	mkfs.Stdout, mkfs.Stderr, mkfs.Env = os.Stdout, os.Stderr, []string{}
	if err := mkfs.Run(); err != nil {
		return fmt.Errorf("make a file system on %s: %w", diskPath, err)
	}
	if err := unix.Mount(diskPath, "/"+stress.DiskDir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", diskPath, err)
	}
	s.mounted = true
	return nil
}

// fill writes zeros to a whole disk. A disk in dom0's memory is slower where
// nothing has been written yet.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the size of %s: %w", path, err)
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return fmt.Errorf("fill %s: %w", path, err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("fill %s: %w", path, err)
	}
	return nil
}
