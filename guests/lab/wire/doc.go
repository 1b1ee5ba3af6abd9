// Package wire is the protocol on a lab's second serial port (com2 in the emulator,
// ttyS1 in dom0), between the harness on this machine and the agent, which is
// dom0's first process.
//
// A serial port is a stream of bytes to which others may write too: a kernel can
// print on it, a terminal line discipline can echo, a snapshot can be restored in
// the middle of a line. The protocol therefore consists of lines of text, one frame
// a line. A person can read them in a log, and a program can find them after any
// amount of noise:
//
//	@hb1 7 progress t 1/1 23 e1c46b7f {"step":"attach","n":3}
//	     |  |       | |   |  |        payload, exactly as many bytes as announced
//	     |  |       | |   |  CRC-32C of everything between "@hb1 " and the CRC, and of the payload
//	     |  |       | |   length of the payload in bytes
//	     |  |       | this is piece 1 of 1 of the message
//	     |  |       t: the payload is the text itself; z: base64 of its DEFLATE form
//	     |  kind of message
//	     sequence number of the frame, from 1, one more for each frame
//
// The emulated port moves 11.5 kB per virtual second however fast the machine
// is, so long messages are compressed; short ones are left readable.
//
// There are no acknowledgements and no retransmission: the emulator's socket loses
// nothing. Damage must never be taken for data. A line with a wrong checksum is
// noise ([Reader.Noise]). The frame that is then missing causes a [*GapError] when
// the next one arrives.
//
// guests/lab/bochs provides the connection. bench/labhost and bench/agent send
// their own types with [Writer.Send] and [Message.Decode].
package wire
