package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// workBytes is the size of the data that one unit of work hashes. The lab's CPU of
// 100 MIPS needs a few milliseconds for it, about one time slice.
const workBytes = 16 << 10

const echoPart = "echo"

// busy hashes some data, sends one byte through a pipe to an echo process and
// reads it back, again and again. The pipe costs two task switches. Plain system
// calls read and write it, so that the Go scheduler adds no switches.
func busy(page *beat.Page, cpu int) error {
	var there, back [2]int
	if err := unix.Pipe2(there[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe to the echo process: %w", err)
	}
	if err := unix.Pipe2(back[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe from the echo process: %w", err)
	}
	in, out := os.NewFile(uintptr(there[0]), "there"), os.NewFile(uintptr(back[1]), "back")
	peer := exec.Command(self, echoPart)
	peer.Stdin, peer.Stdout, peer.Stderr = in, out, os.Stderr
	peer.Env = []string{"GOMAXPROCS=1"}
	if err := peer.Start(); err != nil {
		return fmt.Errorf("start the echo process: %w", err)
	}
	in.Close()
	out.Close()

	buf := make([]byte, workBytes)
	for {
		sum := sha256.Sum256(buf)
		copy(buf, sum[:])
		if _, err := unix.Write(there[1], buf[:1]); err != nil {
			return fmt.Errorf("write to the echo process: %w", err)
		}
		if n, err := unix.Read(back[0], buf[:1]); n != 1 {
			return fmt.Errorf("read from the echo process: %d bytes (%v)", n, err)
		}
		page.Work(cpu)
	}
}

// echo copies each byte of its standard input to its standard output. It ends when
// the input ends.
func echo([]string) error {
	var b [1]byte
	for {
		n, err := unix.Read(0, b[:])
		if n == 0 && err == nil {
			return nil // the busy process has ended
		}
		if n != 1 {
			return fmt.Errorf("echo: read %d bytes (%v)", n, err)
		}
		if _, err := unix.Write(1, b[:]); err != nil {
			return fmt.Errorf("echo: write: %w", err)
		}
	}
}
