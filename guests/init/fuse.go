package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const (
	servePart = "serve"
	fusePath  = "/dev/fuse"
	// serveDir is where the file system of the server is mounted, and servedFile its file.
	serveDir   = "/hangbench-fuse"
	servedFile = "file"
	// serveFD is the file descriptor of the device in the server: the one after pageFD.
	serveFD = pageFD + 1
)

// needServer starts the server of a file system and mounts it, the first time. The kernel
// must have FUSE built in.
func (s *supervisor) needServer() error {
	if s.server != nil {
		return nil
	}
	fd, err := unix.Open(fusePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the device of FUSE, which must be built into the kernel: %w", err)
	}
	device := os.NewFile(uintptr(fd), fusePath)
	defer device.Close() // the server alone keeps it
	if err := os.MkdirAll(serveDir, 0o755); err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("hangbench", serveDir, "fuse", 0, options); err != nil {
		return fmt.Errorf("mount %s: %w", serveDir, err)
	}
	// Before the mount the device cannot be read.
	cmd := s.command(servePart)
	cmd.ExtraFiles = append(cmd.ExtraFiles, device)
	if err := startOn(s.all, cmd); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.server = cmd
	return nil
}

// signalServer sends the server a signal.
func (s *supervisor) signalServer(sig unix.Signal) error {
	if s.server == nil {
		return errors.New("there is no server: the work is not fuse")
	}
	return s.server.Process.Signal(sig)
}

// asker asks for the attributes of the served file once a period. The kernel asks the server
// each time. The first time a signal makes the kernel ask the server to interrupt its
// work, which it refuses: from then on only a fatal signal ends the wait (state D), as with
// servers that cannot be interrupted.
func asker(page *beat.Page, cpu int) error {
	runtime.LockOSThread()
	pid, tid := unix.Getpid(), unix.Gettid()
	answered := make(chan struct{})
	go func() {
		for {
			select {
			case <-answered:
				return
			case <-time.After(10 * time.Millisecond):
				unix.Tgkill(pid, tid, unix.SIGURG) // the runtime ignores it
			}
		}
	}()
	for first := true; ; first = false {
		var st unix.Stat_t
		if err := unix.Stat(serveDir+"/"+servedFile, &st); err != nil && err != unix.EINTR {
			return fmt.Errorf("stat %s: %w", servedFile, err)
		}
		if first {
			close(answered)
		}
		page.Work(cpu)
		time.Sleep(beat.Period)
	}
}

// The protocol of FUSE, from include/uapi/linux/fuse.h.
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetattr     = 3
	fuseInit        = 26
	fuseInterrupt   = 36
	fuseBatchForget = 42

	fuseMajor, fuseMinor = 7, 31
	fuseRoot, fuseFile   = 1, 2 // numbers of nodes
)

// fuseHeader is struct fuse_in_header.
type fuseHeader struct {
	Len, Opcode          uint32
	Unique, Node         uint64
	UID, GID, PID, Extra uint32
}

const fuseHeaderSize = 40

// fuseAttr is struct fuse_attr.
type fuseAttr struct {
	Ino, Size, Blocks, Atime, Mtime, Ctime                              uint64
	AtimeNS, MtimeNS, CtimeNS, Mode, Links, UID, GID, Rdev, Block, Flag uint32
}

// server answers the kernel's requests.
type server struct {
	device *os.File
	// held are requests that wait for the kernel's wish to interrupt them. The server
	// refuses it once, and holds no request after that.
	held    [][]byte
	refused bool
}

// serve is the server's process: it has a root with one file.
func serve([]string) error {
	s := &server{device: os.NewFile(serveFD, fusePath)}
	buf := make([]byte, 64<<10)
	for {
		n, err := s.device.Read(buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) { // the request was taken back
			continue
		}
		if err != nil {
			return fmt.Errorf("read a request of the kernel: %w", err)
		}
		if err := s.answer(buf[:n]); err != nil {
			return err
		}
	}
}

// answer answers one request.
func (s *server) answer(b []byte) error {
	var h fuseHeader
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return fmt.Errorf("a request of %d bytes: %w", len(b), err)
	}
	switch {
	case h.Opcode == fuseForget, h.Opcode == fuseBatchForget:
		return nil // no answer is due
	case h.Opcode == fuseInit:
		return s.reply(h.Unique, 0, [16]uint32{fuseMajor, fuseMinor, 0, 0, 0, 4096, 1})
	case h.Opcode == fuseInterrupt:
		s.refused = true
		if err := s.reply(h.Unique, unix.ENOSYS, nil); err != nil {
			return err
		}
		held := s.held
		s.held = nil
		for _, b := range held {
			if err := s.answer(b); err != nil {
				return err
			}
		}
		return nil
	case h.Opcode == fuseLookup && h.Node == fuseRoot && string(b[fuseHeaderSize:]) == servedFile+"\x00":
		if !s.refused {
			s.held = append(s.held, append([]byte(nil), b...))
			return nil
		}
		// Nothing may be cached: the times are 0.
		return s.reply(h.Unique, 0, struct {
			Node, Generation, EntryTime, AttrTime uint64
			EntryNS, AttrNS                       uint32
			Attr                                  fuseAttr
		}{Node: fuseFile, Attr: attrOf(fuseFile)})
	case h.Opcode == fuseGetattr && (h.Node == fuseRoot || h.Node == fuseFile):
		return s.reply(h.Unique, 0, struct {
			Time     uint64
			NS, Zero uint32
			Attr     fuseAttr
		}{Attr: attrOf(h.Node)})
	}
	return s.reply(h.Unique, unix.ENOSYS, nil)
}

func attrOf(node uint64) fuseAttr {
	if node == fuseRoot {
		return fuseAttr{Ino: node, Mode: unix.S_IFDIR | 0o755, Links: 2}
	}
	return fuseAttr{Ino: node, Mode: unix.S_IFREG | 0o644, Links: 1}
}

// reply answers a request with an error, or with what is asked for: struct
// fuse_out_header and what follows it.
func (s *server) reply(unique uint64, e unix.Errno, out any) error {
	var body []byte
	if out != nil {
		var err error
		if body, err = binary.Append(nil, binary.LittleEndian, out); err != nil {
			return err
		}
	}
	b, err := binary.Append(nil, binary.LittleEndian, struct {
		Len    uint32
		Error  int32
		Unique uint64
	}{uint32(16 + len(body)), -int32(e), unique})
	if err != nil {
		return err
	}
	// The kernel may have taken the request back.
	if _, err := s.device.Write(append(b, body...)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("answer the kernel: %w", err)
	}
	return nil
}
