# What Debian's package is made of (debian/): everything that a machine needs
# which the service runs on, and one version.

use strict;
use warnings;

use File::Basename qw( basename );
use File::Find;
use Test::More;

use Cwd qw( abs_path );

my $Repo = abs_path("$ENV{TEST_NGINX_CONCERT_CONF}/..");
my $Package = 'libnginx-mod-http-concert';

# What is not shipped as a file of its own, and why.
my %Kept = (
    qr{^conf/queue/}  => 'is built into the module',
    qr{^conf/stack/(?!migrate$)} => 'is for developers',
    qr{^conf/monitoring/influxdb\.conf\.in$} => 'is for the load tests',
);

sub text {
    my ($path) = @_;

    open my $in, '<', "$Repo/$path" or die "$path: $!";
    local $/;
    return scalar <$in>;
}

# The patterns of a list such as debian/PACKAGE.install; its last column, where
# files go, is no pattern if there is more than one.
sub patterns {
    my ($list) = @_;
    my @patterns;

    for my $line (split /\n/, text("debian/$Package.$list")) {
        my @words = split ' ', $line;

        pop @words if @words > 1;
        push @patterns, @words;
    }

    return @patterns;
}

my %Shipped;
my $Rules = text('debian/rules');

for my $list (qw( docs examples install manpages )) {
    for my $pattern (patterns($list)) {
        my @found = glob "$Repo/$pattern";

        ok @found && !grep({ !-e } @found),
           "$pattern of the list $list is there" or next;
        find({ no_chdir => 1, wanted => sub {
            $Shipped{ substr $_, length "$Repo/" } = 1 if -f;
        } }, @found);
    }
}

# templates are filled in by the rules
$Shipped{$1} = 1 while $Rules =~ m{(conf/monitoring/\S+\.in)\b}g;

find({ no_chdir => 1, wanted => sub {
    my $path = substr $_, length "$Repo/";
    my ($kept) = grep { $path =~ $_ } keys %Kept;

    return unless -f && $path !~ /(~|\.swp)$/;

    if ($kept) {
        ok !$Shipped{$path}, "$path $Kept{$kept}";
    } else {
        ok $Shipped{$path}, "$path is in the package";
    }
} }, "$Repo/conf");

ok $Shipped{$_}, "so is $_" for qw( README.md docs/debian.md );


# What is for whoever runs it names no program that only the source has.

for my $path (grep { m{^(?:conf|debian)/} } sort keys %Shipped) {
    next if $path eq 'conf/stack/migrate' || $path =~ /\.in$/;

    my $says = text($path) =~ s/\n\h*(?:#|--)?\h*/ /gr;

    unlike $says =~ s/conf\/stack\/migrate \(Debian's package: concert-migrate\)//gr,
           qr{conf/stack|\bmake (?:[a-z]+ [A-Z_]+=|run|start|monitor)},
           "$path is for a reader of the package, too";
}


# one version

my ($version) = text('debian/changelog') =~ /^\Q$Package\E \(([^)]+)\)/;

like text('conf/openapi.yaml'), qr/^  version: \Q$version\E$/m,
     'the OpenAPI document has the version of the package';
like text('src/api/status.c'),
     qr/NGX_HTTP_CONCERT_VERSION\s+"\Q$version\E"/,
     'and so has the module';


# the example

my $site = text('debian/site/concert');
my $pools = text('debian/site/concert-threads.conf');
my %Count = (lanes => 1, $site =~ /\b(read|write|lanes)=(\d+)/g);
my ($threads) = $pools =~ /^thread_pool\s+concert_io threads=(\d+);/m;

is $threads, $Count{read} + $Count{write} + $Count{lanes},
   'the example has a thread for each of its connections';

for my $document ("debian/$Package.README.Debian", 'docs/debian.md') {
    my $says = text($document);

    like $says, qr/\Q$_\E/, "$document tells of $_"
        for 'concert-migrate dbname=concert www-data',
            map { basename($_) } glob "$Repo/debian/site/*";
}

done_testing();
