# `make run`: what it says, and the README says, to try works as it is typed; and a
# signal: whenever it comes, all that ran is stopped, and that is said.  Perl, and a
# stack of its own.

use strict;
use warnings;

use File::Temp ();
use POSIX qw( WNOHANG );
use Test::More;

use Concert;

my $Var = 'build/test-run-var';
my $Tools = File::Temp->newdir;

# free_port() gives others the ports up to 60 above the first.
@ENV{qw( VAR PORT SEATS WORKERS SHARED_BUFFERS )}
    = ($Var, $ENV{TEST_NGINX_PORT} + 70, 100, 1, '128MB');

# The tool by which the stack looks whether a process is its own.  Once there is
# a file "now", whoever looks gets the signal that is in it while it looks.
my $Tool = "$Tools/tr";

open my $out, '>', $Tool or die $!;
print $out <<"END_OF_TOOL";
#!/bin/bash
PATH=$ENV{PATH}
if mv $Tools/now $Tools/then 2>/dev/null; then
    kill -s \$(cat $Tools/then)
fi
exec tr "\$@"
END_OF_TOOL
close $out;
chmod 0755, $Tool;

sub stack {
    return system("conf/stack/stack $_[0] >/dev/null 2>&1 </dev/null") == 0;
}

END { local $?; stack('stop') if -d $Var }
stack('remove');

# Starts it, and waits for a line of what it says.
sub run_until {
    my ($line) = @_;

    open my $said, '>', "$Tools/said" or die $!;
    my $pid = fork // die $!;

    if (!$pid) {
        # who runs us may ignore them, and what is ignored cannot be trapped
        $SIG{$_} = 'DEFAULT' for qw( INT TERM HUP );
        local $ENV{PATH} = "$Tools:$ENV{PATH}";
        open STDOUT, '>&', $said or die $!;
        open STDERR, '>&', $said or die $!;
        open STDIN, '<', '/dev/null' or die $!;
        exec 'conf/stack/stack', 'run' or die $!;
    }

    eventually { said() =~ $line } 'it runs';

    return $pid;
}

sub said { return text("$Tools/said") // '' }

# Commands of a shell, each of which must succeed.
sub works {
    my ($commands, $title) = @_;

    open my $out, '>', "$Tools/commands" or die $!;
    print $out qq{curl() { command curl -fsS --noproxy '*' "\$@" && echo; }\n},
               $commands;
    close $out;

    my $says = qx(bash -e $Tools/commands 2>&1);

    is $?, 0, $title or diag $commands, $says;
    like $says, qr/"PAID"/, '... up to a ticket';
}

sub text {
    my ($path) = @_;

    open my $in, '<', $path or die "$path: $!";
    local $/;
    return <$in>;
}

my ($Readme) = text('README.md') =~ /^Neither touches.*?\n\n(.*?)^The demo has/ms;

run_until(qr/^Ctrl-C/m);
works(said() =~ /^Try, as user 1.*?\n(.*)^Look at it/ms, 'what it says to try works');
stack('reset');
works($Readme =~ s/localhost:8080/localhost:$ENV{PORT}/gr,
      'and so do the first steps of the README');
stack('stop');
wait;

for my $signal (qw( INT TERM HUP )) {
    my $pid = run_until(qr/^Ctrl-C/m);

    open my $now, '>', "$Tools/now.new" or die $!;
    print $now "$signal $pid";
    close $now;
    rename "$Tools/now.new", "$Tools/now" or die $!;

    eventually { waitpid($pid, WNOHANG) == $pid } "SIG$signal ends it"
        or kill 'KILL', $pid;
    is $? >> 8, 130, "SIG$signal: with 130";
    like said(), qr/^stopped \($Var\)$/m, 'and it says that all is stopped';
    ok !stack('status'), 'which is so';
}

stack('remove');
done_testing;
