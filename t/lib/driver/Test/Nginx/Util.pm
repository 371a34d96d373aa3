package Test::Nginx::Util;

# The half of the test driver that knows nginx: what a test file sets, the
# server root, the generated nginx.conf, starting and stopping, the logs.  It
# sends no request and judges no response; that is Test::Nginx::Socket.
#
# Settings have the names that they have in openresty's Test::Nginx, because
# test files reach for some of them ($Test::Nginx::Util::ErrLogFile).

use strict;
use warnings;

use Carp        qw( croak );
use Exporter    qw( import );
use File::Glob  qw( bsd_glob );
use File::Path  qw( make_path remove_tree );
use File::Spec  ();
use List::Util  qw( shuffle );
use Test::More  ();
use Time::HiRes qw( sleep time );

our $NginxBinary = $ENV{TEST_NGINX_BINARY}       || 'nginx';
our $LoadModules = $ENV{TEST_NGINX_LOAD_MODULES} || '';
our $LogLevel    = $ENV{TEST_NGINX_LOG_LEVEL}    || 'debug';
our $Timeout     = $ENV{TEST_NGINX_TIMEOUT}      || 3;
our $NoShuffle   = $ENV{TEST_NGINX_NO_SHUFFLE};
our $Verbose     = $ENV{TEST_NGINX_VERBOSE};
our $TestNginxSleep       = $ENV{TEST_NGINX_SLEEP} || 0.015;
our $MasterProcessEnabled = $ENV{TEST_NGINX_MASTER_PROCESS} || 'off';
our $ForceRestartOnTest   = $ENV{TEST_NGINX_FORCE_RESTART_ON_TEST} // 1;
our $CheckAccumErrLog     = $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG};

our $ServerAddr = '127.0.0.1';
our $ServerName = 'localhost';
our $ServerPort = $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 1984;
our $ServerPortForClient = $ENV{TEST_NGINX_CLIENT_PORT} || $ServerPort;

our $RepeatEach        = 1;
our $Workers           = 1;
our $WorkerConnections = 64;
our $ConfigPreamble    = '';
our $NoRootLocation;
our @EnvToNginx;

our $ServRoot   = $ENV{TEST_NGINX_SERVROOT}
                  || File::Spec->rel2abs('t/servroot');
our $ConfDir    = "$ServRoot/conf";
our $HtmlDir    = "$ServRoot/html";
our $LogDir     = "$ServRoot/logs";
our $ConfFile   = "$ConfDir/nginx.conf";
our $PidFile    = "$LogDir/nginx.pid";
our $ErrLogFile = "$LogDir/error.log";
our $AccLogFile = "$LogDir/access.log";

$ENV{TEST_NGINX_SERVER_ROOT} = $ServRoot;
$ENV{TEST_NGINX_SERVER_PORT} //= $ServerPort;

our $NginxVersion;              # 1.022001 for 1.22.1

my $NginxBuild;                 # what nginx -V says
my $Process = $$;               # tests may fork, and children run END too
my $CheckErrorLog;              # Test::Nginx::Socket's checks of error.log
my $ErrLogFilePos = 0;          # up to here it was read
my $PrevConfig;                 # the config that nginx runs with
my $PrevBlock;                  # the block that was run last
my (@BlockPreprocessors, @CleanupHandlers, @TestCleanupHandlers);

# How long a starting nginx may find its port in use, seconds.
use constant START_TIMEOUT => 30;

# Sections of the original that change what a block does or checks, and are
# not implemented: a block that has one must not pass for want of a check.
my @Unsupported = qw(
    charset curl_error curl_options curl_protocol http2 http3 reload_fails
    response_body_eval response_body_filters skip_nginx2 skip_openssl
    skip_slave stap stap_out stap_out_like stap_out_unlike tcp_listen
    tcp_query tcp_query_len tcp_reply tcp_shutdown todo todo_nginx udp_listen
    udp_query udp_reply write_resp_body_file
);

# Functions that read a setting, or write it when given an argument.
my %Setting = (
    log_level              => \$LogLevel,
    repeat_each            => \$RepeatEach,
    server_addr            => \$ServerAddr,
    server_name            => \$ServerName,
    server_port            => \$ServerPort,
    server_port_for_client => \$ServerPortForClient,
    timeout                => \$Timeout,
    worker_connections     => \$WorkerConnections,
    workers                => \$Workers,
);

for my $name (keys %Setting) {
    my $value = $Setting{$name};

    no strict 'refs';
    *$name = sub {
        $$value = shift if @_;
        return $$value;
    };
}

our @EXPORT = (keys %Setting, qw(
    $ServerAddr $ServerName $ServerPort $ServerPortForClient $TestNginxSleep
    access_log_data add_block_preprocessor add_cleanup_handler
    add_test_cleanup_handler bail_out check_accum_error_log config_preamble
    env_to_nginx error_log_data expand_env_in_text html_dir master_off
    master_on master_process_enabled no_long_string no_root_location
    no_shuffle run_blocks seconds server_root verbose
));

sub html_dir ()              { return $HtmlDir }
sub server_root ()           { return $ServRoot }
sub config_preamble ($)      { $ConfigPreamble = shift }
sub master_on ()             { $MasterProcessEnabled = 'on' }
sub master_off ()            { $MasterProcessEnabled = 'off' }
sub no_root_location ()      { $NoRootLocation = 1 }
sub no_shuffle ()            { $NoShuffle = 1 }
sub check_accum_error_log () { $CheckAccumErrLog = 1 }
sub no_long_string ()        { }        # only changes how a failure is told

# Handlers run in the order opposite to that in which they were added.
sub add_block_preprocessor (&)   { unshift @BlockPreprocessors, shift }
sub add_cleanup_handler ($)      { unshift @CleanupHandlers, shift }
sub add_test_cleanup_handler ($) { unshift @TestCleanupHandlers, shift }

sub master_process_enabled {
    $MasterProcessEnabled = shift() ? 'on' : 'off' if @_;
    return $MasterProcessEnabled;
}

sub env_to_nginx {
    croak "env_to_nginx: no arguments specified" if !@_;

    for my $env (@_) {
        croak "env_to_nginx: bad argument value: $env"
            if $env !~ /^[A-Za-z_]/ || $env =~ /\n/;

        push @EnvToNginx, $env;
    }
}

# Ends all tests, those of the files that follow too.
sub bail_out {
    $_->() for splice @CleanupHandlers;
    Test::More::BAIL_OUT(join '', @_);
}

sub verbose {
    Test::More::diag(@_) if $Verbose;
}

# "50ms", "2s" or "2", in seconds.
sub seconds {
    my ($time) = @_;

    return $time if !defined $time || $time !~ /^\s*([\d.]+)\s*(ms|s)\s*$/;
    return $2 eq 'ms' ? $1 / 1000 : $1;
}

# Replaces $TEST_NGINX_name by that environment variable.  As in the original,
# this is done in configurations, files and expected bodies, but not in
# requests, headers and patterns.
sub expand_env_in_text {
    my ($text, $name) = @_;

    return $text if !defined $text || ref $text;

    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{
        $ENV{$1} // bail_out("$name - no environment variable $1 defined")
    }ge;

    return $text;
}

# Runs every block of the test file.  $run_requests is what the client's half
# does to a block once nginx is up; %$check are its checks of error.log:
# "request" also after nginx refused to start, "shutdown" once it is down.
sub run_blocks {
    my ($run_requests, $check) = @_;

    $CheckErrorLog = $check;
    read_nginx_build();

    my @blocks = Test::Base::blocks();

    for my $block ($NoShuffle ? @blocks : shuffle @blocks) {
        $_->($block) for @BlockPreprocessors;
        $block->set_value(name => "$0 " . $block->name);

        run_block($block, $run_requests);

        $_->($block) for @TestCleanupHandlers;
        $PrevBlock = $block;
    }

    $_->() for splice @CleanupHandlers;
}

sub run_block {
    my ($block, $run_requests) = @_;

    my $name = $block->name;

    for my $section (grep { exists $block->{$_} } @Unsupported) {
        bail_out("$name - this driver does not support --- $section");
    }

    if (my ($tests, $reason) = skipped($block)) {
        SKIP: {
            Test::More::skip("$name - $reason", $tests * $RepeatEach);
        }
        return;
    }

    # A block with a config starts nginx anew, even with the same config: the
    # shared memory and logs of the blocks before are none of its business.
    # One without goes on with the nginx that is there.

    my $config = expand_env_in_text(scalar $block->config, $name);

    bail_out("$name - no --- config, and none before it")
        if !defined $config && !defined $PrevConfig;

    if (defined $config && ($ForceRestartOnTest || !defined $PrevConfig
                            || $config ne $PrevConfig))
    {
        stop_nginx();
        $CheckErrorLog->{shutdown}->($PrevBlock) if $PrevBlock;

        prepare_server_root($block, $config);
        return must_die($block) if defined $block->must_die;

        start_nginx($block);
        $PrevConfig = $config;
    }

    run_code($block, 'init');
    $ErrLogFilePos = 0;

    for my $repeat (0 .. $RepeatEach - 1) {
        write_user_files($block) if $repeat;
        $run_requests->($block, $repeat);
    }
}

# How many tests of the block are skipped, and why; nothing if none are.
sub skipped {
    my ($block) = @_;

    my $name = $block->name;

    if (defined(my $spec = $block->skip_eval)) {
        my ($tests, $code) = $spec =~ /^\s*(\d+)\s*:\s*(.*)/s
            or bail_out("$name - invalid --- skip_eval: $spec");

        my $skip = eval $code;
        bail_out("$name - skip_eval failed: $@") if $@;

        return ($tests, 'skip_eval') if $skip;
    }

    if (defined(my $spec = $block->skip_nginx)) {
        my ($tests, $op, $version, $reason) = $spec =~
            m{^\s*(\d+)\s*:\s*([<>]=?)\s*(\d+\.\d+\.\d+)(?:\s*:\s*(.*))?\s*$}
            or bail_out("$name - invalid --- skip_nginx: $spec");

        return ($tests, $reason || "nginx version $op $version")
            if eval "$NginxVersion $op " . version_number($version);
    }

    return;
}

sub run_code {
    my ($block, $section) = @_;

    my $code = $block->$section // return;

    eval $code;
    bail_out($block->name . " - $section failed: $@") if $@;
}

# Empties the server root of what nginx and this driver put there, and of
# nothing else: if TEST_NGINX_SERVROOT names some directory by mistake, what
# is in it stays, and the tests end.
sub prepare_server_root {
    my ($block, $config) = @_;

    if (-d $ServRoot) {
        remove_tree($ConfDir, $HtmlDir, $LogDir, "$ServRoot/cache",
                    bsd_glob("$ServRoot/*_cache"),
                    bsd_glob("$ServRoot/*_temp"));

        rmdir $ServRoot
            or bail_out("cannot remove $ServRoot (not empty?): $!");
    }

    for my $dir ($ServRoot, $LogDir, $HtmlDir, $ConfDir) {
        mkdir $dir or bail_out("cannot create $dir: $!");
    }

    write_file("$HtmlDir/index.html",
               '<html><head><title>It works!</title></head>'
               . '<body>It works!</body></html>');

    run_code($block, 'post_setup_server_root');
    write_user_files($block);
    write_file($ConfFile, nginx_conf($block, $config));

    $ErrLogFilePos = 0;
}

sub write_user_files {
    my ($block) = @_;

    my $files = $block->user_files // return;

    if (!ref $files) {
        # ">>> name [time, as of touch -t]", followed by the lines of the file
        my @parts =
            split /^.*?>>> (\S+)(?:[ \t]+(.+))?(?:\n|\z)/m, $files, -1;
        shift @parts;

        $files = [];
        while (my ($path, $date, $body) = splice @parts, 0, 3) {
            push @$files, [$path, $body, $date];
        }
    }

    for my $file (@$files) {
        my ($path, $body, $date) = @$file;

        $path = "$HtmlDir/$path" if $path !~ m{^/};
        make_path($path =~ s{[^/]*$}{}r);
        write_file($path, expand_env_in_text($body // '', $block->name));

        if ($date) {
            local $ENV{TZ} = 'GMT';
            system('touch', '-t', $date, $path) == 0
                or bail_out($block->name . " - cannot set the time of $path");
        }
    }
}

sub write_file {
    my ($path, $text) = @_;

    open my $out, '>', $path or bail_out("cannot write $path: $!");
    binmode $out;
    print $out $text;
    close $out or bail_out("cannot write $path: $!");
}

sub nginx_conf {
    my ($block, $config) = @_;

    my ($http, $main, $post_main, $error_log) =
        map { expand_env_in_text(scalar $block->$_, $block->name) // '' }
            qw( http_config main_config post_main_config error_log_file );

    my $log_level = $block->log_level || $LogLevel;
    my $server_name = $block->server_name // $ServerName;
    my $user = $ENV{TEST_NGINX_WORKER_USER} || ($> == 0 ? 'root' : '');
    my $load = join '', map { "load_module $_;\n" } split ' ', $LoadModules;
    my $temp_paths = temp_paths($http);
    my $env = join '', map { /\s/ ? "env '$_';\n" : "env $_;\n" }
              qw( LD_PRELOAD LD_LIBRARY_PATH ASAN_OPTIONS ), @EnvToNginx;

    $error_log ||= $ErrLogFile;
    $user = "user $user;" if $user;

    my $root_location = $NoRootLocation ? '' : <<"_EOC_";
        location / {
            root $HtmlDir;
            index index.html index.htm;
        }
_EOC_

    return <<"_EOC_";
worker_processes  $Workers;
daemon on;
master_process $MasterProcessEnabled;
error_log $error_log $log_level;
pid       $PidFile;
$user
$env
$load
$main

http {
    access_log $AccLogFile;
$temp_paths
    default_type text/plain;
    keepalive_timeout  68000ms;

$http
    server {
        listen          $ServerPort;
        server_name     '$server_name';
        client_max_body_size 30M;

        # Begin preamble config...
$ConfigPreamble
        # End preamble config...

        # Begin test case config...
$config
        # End test case config.

$root_location
    }
}

$post_main

events {
    accept_mutex off;

    worker_connections  $WorkerConnections;
}
_EOC_
}

# nginx's temporary directories go below the server root, but for those that
# the test sets itself and those of modules that nginx is built without.
sub temp_paths {
    my ($http) = @_;

    my @modules = grep {
        $http !~ /\b${_}_temp_path\b/
        && $NginxBuild !~ /--without-http_${_}_module/
    } qw( client_body proxy fastcgi scgi uwsgi );

    return join '', map { "    ${_}_temp_path $ServRoot/${_}_temp;\n" }
                        @modules;
}

sub read_nginx_build {
    $NginxBuild = `$NginxBinary -V 2>&1` // '';

    my ($version) = $NginxBuild =~ m{version: \S+?/(\d+\.\d+\.\d+)}
        or bail_out("'$NginxBinary -V' does not tell a version: $NginxBuild");

    $NginxVersion = version_number($version);
}

sub version_number {
    return sprintf '%d.%03d%03d', split /\./, shift;
}

# Runs nginx until it is a daemon, or has failed; returns what system() does.
# The configuration's path stands near the front for is_running().
sub run_nginx {
    my ($stderr) = @_;

    my $command = "$NginxBinary -c '$ConfFile' -p '$ServRoot/'"
                  . " -e '$ErrLogFile' > /dev/null $stderr";

    verbose("running $command");
    return system $command;
}

# nginx becomes a daemon when its sockets listen, but before it writes its pid.
sub start_nginx {
    my ($block) = @_;

    my $stderr = defined $block->suppress_stderr ? '2> /dev/null' : '';
    my $deadline = time + START_TIMEOUT;

    while (run_nginx($stderr) != 0) {
        my ($lines) = read_log($ErrLogFile);

        bail_out($block->name . " - cannot start nginx, see $ErrLogFile")
            if time > $deadline
               || !grep { /Address already in use/ } @$lines;
        sleep 1;
    }

    while (!defined nginx_pid()) {
        bail_out($block->name . " - nginx started, but wrote no $PidFile")
            if time > $deadline;
        sleep $TestNginxSleep;
    }
}

# nginx must refuse to start; if --- must_die is a number, with that status.
sub must_die {
    my ($block) = @_;

    my $name = $block->name;
    my $expected = $block->must_die;

    undef $PrevConfig;

    for my $repeat (0 .. $RepeatEach - 1) {
        my $status = run_nginx('2> /dev/null');

        if ($status == -1 || $status & 127 || $status >> 8 > 125) {
            Test::More::fail("$name - nginx crashed or was not found");

        } elsif ($expected =~ /^\s*\d+\s*$/) {
            Test::More::is($status >> 8, $expected + 0,
                           "$name - die with the expected exit code");

        } else {
            Test::More::isnt($status, 0, "$name - die as expected");
        }

        $CheckErrorLog->{request}->($block, $repeat);

        if ($status == 0) {
            sleep $TestNginxSleep * 3;
            stop_nginx();
        }
    }
}

sub nginx_pid {
    open my $in, '<', $PidFile or return;
    return (<$in> // '') =~ /^(\d+)$/ ? $1 : undef;
}

# A pid file may be stale, and its number may be somebody else's by now: only
# a process that was started with our configuration is ours, or the one that
# OpenResty renames when it is told to stop.  (A zombie, which nobody has waited
# for, has no command line.)
sub is_running {
    my ($pid) = @_;

    open my $in, '<', "/proc/$pid/cmdline" or return 0;
    return (<$in> // '')
           =~ /\Q$ConfFile\E|^nginx: process is shutting down/;
}

sub stop_nginx {
    my $pid = nginx_pid() // return;

    my $signal = $ENV{TEST_NGINX_FAST_SHUTDOWN} ? 'TERM' : 'QUIT';
    my $deadline = time + $Timeout;

    kill $signal => $pid if is_running($pid);

    while (is_running($pid)) {
        if (time > $deadline) {
            warn "WARNING: nginx, process $pid, does not stop: killing it\n";

            # the daemon leads the process group that its workers are in
            kill KILL => getpgrp($pid) == $pid ? -$pid : $pid;
            last;
        }

        sleep 0.01;
    }

    unlink $PidFile;
}

END {
    if ($$ == $Process && !$ENV{TEST_NGINX_NO_CLEAN}) {
        local $?;

        $_->() for splice @CleanupHandlers;
        stop_nginx();
        $CheckErrorLog->{shutdown}->($PrevBlock) if $PrevBlock;
    }
}

# What error.log got since it was last read.  A request is logged after its
# response was sent: wait a little.
sub error_log_data {
    sleep $TestNginxSleep * 3;

    (my $lines, $ErrLogFilePos) =
        read_log($ErrLogFile, $CheckAccumErrLog ? 0 : $ErrLogFilePos);

    return $lines;
}

sub access_log_data {
    sleep $TestNginxSleep * 3;

    my ($lines) = read_log($AccLogFile);
    return $lines;
}

# The lines of a log from some position on, and the position of its end.
sub read_log {
    my ($path, $from) = @_;

    open my $in, '<', $path or return [], 0;
    seek $in, $from // 0, 0;
    my @lines = <$in>;

    return \@lines, tell $in;
}

1;
