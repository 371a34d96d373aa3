package Browser;

# Debian's chromium, without a screen, driven by its chromedriver (WebDriver,
# https://www.w3.org/TR/webdriver2/).
#
#   my $browser = Browser->start(language => 'ko', width => 360, height => 740);
#   $browser->go('http://127.0.0.1:8080/ops/');
#   $browser->click('#pause');
#   $browser->text('h1')
#
# Its profile, cache and home are a directory of its own; it asks for no name
# and reaches loopback alone.

use strict;
use warnings;

use File::Temp   ();
use HTTP::Tiny   ();
use JSON::PP     ();
use MIME::Base64 qw( decode_base64 );
use POSIX        ();
use Time::HiRes  qw( sleep time );

use Concert      ();

# how long a browser may take to start, or to answer, s
use constant PATIENCE => 120;

my $Json = JSON::PP->new->utf8->canonical->allow_nonref;
my $Owner = $$;
my %Running;

# A release may have none.
sub installed { return grep { -x "$_/chromedriver" } split /:/, $ENV{PATH} }

# language (en), width and height (1280, 900), phone: with a finger
sub start {
    my ($class, %is) = @_;

    my $self = bless { home => File::Temp->newdir, port => Concert::free_port(),
                       http => HTTP::Tiny->new(timeout => PATIENCE) }, $class;

    $self->start_driver;
    $self->{session} = $self->ask(POST => '/session', { capabilities => {
        alwaysMatch => capabilities($self->{home}, %is) } })->{sessionId};

    return $self;
}

sub start_driver {
    my ($self) = @_;
    my $home = "$self->{home}";
    my $pid = fork // die "cannot fork: $!";

    # a group of its own, so that no part of a browser is left behind
    if ($pid == 0) {
        setpgrp;
        @ENV{qw( HOME TMPDIR XDG_CONFIG_HOME XDG_CACHE_HOME )} = ($home) x 4;
        # it is noon, so that what was a minute ago is of today
        $ENV{TZ} = sprintf 'Etc/GMT%+d', (gmtime)[2] - 12;
        delete @ENV{qw( DISPLAY DBUS_SESSION_BUS_ADDRESS )};
        open STDOUT, '>', "$home/driver.log";
        open STDERR, '>&', \*STDOUT;
        exec 'chromedriver', "--port=$self->{port}" or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $Running{$pid} = 1;

    my $deadline = time + PATIENCE;

    until (eval { $self->ask(GET => '/status')->{ready} }) {
        die "chromedriver does not start: $@"
            if time > $deadline || waitpid $pid, POSIX::WNOHANG();
        sleep 0.05;
    }
}

sub capabilities {
    my ($home, %is) = @_;

    my $language = $is{language} // 'en';
    my ($width, $height) = ($is{width} // 1280, $is{height} // 900);
    my %phone = (mobileEmulation => { deviceMetrics => {
        width => $width, height => $height, pixelRatio => 2,
        mobile => JSON::PP::true, touch => JSON::PP::true } });

    return {
        'goog:loggingPrefs'  => { browser => 'ALL' },
        'goog:chromeOptions' => {
            args => [ qw( headless=new no-first-run disable-sync
                          disable-gpu disable-dev-shm-usage
                          disable-background-networking
                          disable-component-update
                          remote-debugging-pipe ),
                      $> == 0 ? 'no-sandbox' : (),
                      'host-resolver-rules=MAP * ~NOTFOUND , '
                      . 'EXCLUDE 127.0.0.1',
                      "lang=$language", "window-size=$width,$height",
                      "user-data-dir=$home/profile" ],
            prefs => { 'intl.accept_languages' => $language },
            $is{phone} ? %phone : (),
        },
    };
}

# What the driver answers; dies with what it says.
sub ask {
    my ($self, $method, $path, $body) = @_;

    my $answer = $self->{http}->request($method,
        "http://127.0.0.1:$self->{port}$path",
        { headers => { 'Content-Type' => 'application/json' },
          $body ? (content => $Json->encode($body)) : () });
    my $value = eval { $Json->decode($answer->{content})->{value} };

    die "$method $path: ", ref $value ? "$value->{error}: $value->{message}"
                                      : $answer->{content}
        if !$answer->{success};

    return $value;
}

sub command {
    my ($self, $method, $path, $body) = @_;
    return $self->ask($method, "/session/$self->{session}$path", $body);
}

sub go { $_[0]->command(POST => '/url', { url => $_[1] }) }
sub reload { $_[0]->command(POST => '/refresh', {}) }

# The value of JavaScript, "return ...".
sub script {
    my ($self, $script, @arguments) = @_;
    return $self->command(POST => '/execute/sync',
                          { script => $script, args => \@arguments });
}

# The text of an element, as it can be seen; '' if there is none.
sub text {
    my ($self, $css) = @_;
    return $self->script('return document.querySelector(arguments[0])'
                         . '?.innerText?.trim() ?? ""', $css);
}

sub find {
    my ($self, $css) = @_;

    my $found = $self->command(POST => '/element',
                               { using => 'css selector', value => $css });

    return (values %$found)[0];
}

# Waits until an element is not disabled.
sub enabled {
    my ($self, $css) = @_;
    my $deadline = time + PATIENCE;

    while ($self->script('return !!document.querySelector(arguments[0])'
                         . '?.disabled', $css))
    {
        die "$css stays disabled" if time >= $deadline;
        sleep 0.05;
    }
}

# As a hand does: what cannot be seen, or lies under something, cannot be
# clicked.
sub click {
    my ($self, $css) = @_;

    $self->enabled($css);
    $self->command(POST => '/element/' . $self->find($css) . '/click', {});
}

sub type {
    my ($self, $css, $text) = @_;

    $self->enabled($css);
    $self->command(POST => '/element/' . $self->find($css) . '/value',
                   { text => "$text" });
}

# A key, to whatever has the focus; "\x{E004}" is Tab
# (https://www.w3.org/TR/webdriver2/#keyboard-actions).
sub press {
    my ($self, $key) = @_;
    $self->command(POST => '/actions', { actions => [
        { type => 'key', id => 'keyboard',
          actions => [ map { { type => $_, value => $key } }
                           qw( keyDown keyUp ) ] } ] });
}

# What was logged to the console since it was asked for last.
sub console {
    my ($self) = @_;
    return map { "$_->{level} $_->{message}" }
               @{ $self->command(POST => '/se/log', { type => 'browser' }) };
}

sub screenshot {
    my ($self, $path) = @_;

    open my $out, '>:raw', $path or die "$path: $!";
    print $out decode_base64($self->command(GET => '/screenshot'));
    close $out or die "$path: $!";
}

# A command of Chromium's own DevTools.
sub devtools {
    my ($self, $command, %parameters) = @_;
    return $self->command(POST => '/goog/cdp/execute',
                          { cmd => $command, params => \%parameters });
}

sub stop {
    my ($self) = @_;

    $self->ask(DELETE => "/session/$self->{session}");
    end($self->{pid});
}

sub end {
    my ($pid) = @_;

    kill KILL => -$pid;
    waitpid $pid, 0;
    delete $Running{$pid};
}

END {
    if ($$ == $Owner) {
        local $?;
        end($_) for keys %Running;
    }
}

1;
