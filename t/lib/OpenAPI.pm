package OpenAPI;

# An OpenAPI 3.1 document, and whether an answer is as it says:
#
#   my $api = OpenAPI->new('conf/openapi.yaml');
#   my @complaints = $api->complaints('GET /api/balance/{userId}', $answer);
#
# An answer is anything with status(), header(name) and body(), such as a
# Concert::Answer.  An outcome is a status and, of a problem, its code: "200",
# "404 user_not_found".
#
# Of JSON Schema (2020-12) it knows the keywords that the document uses, and
# dies of any other.  It is stricter in one thing: a member that no part of a
# schema names is a complaint, so that a member the document forgot is found.

use strict;
use warnings;

use B        ();
use JSON::PP ();
use YAML::XS ();

my $Json = JSON::PP->new->canonical->allow_nonref;

# The headers that an answer may have only if the document says so.
my @Headers = qw( Link Retry-After Allow Location WWW-Authenticate ETag
                  Idempotency-Replayed X-Accel-Buffering );

my @Methods = qw( get put post delete options head patch trace );

sub new {
    my ($class, $file) = @_;

    # by way of JSON, so that a number is a number of JSON
    local $YAML::XS::Boolean = 'JSON::PP';
    my $self = bless {
        document => $Json->decode($Json->encode(YAML::XS::LoadFile($file)))
    }, $class;

    while (my ($path, $item) = each %{ $self->{document}{paths} }) {
        for my $method (grep { $item->{$_} } @Methods) {
            $self->{operations}{uc($method) . " $path"} = {
                %{ $item->{$method} },
                path => $path,
                method => uc $method,
                parameters => [map { $self->resolve($_) }
                               @{ $item->{parameters} // [] },
                               @{ $item->{$method}{parameters} // [] }],
            };
        }
    }

    return $self;
}

sub document { return $_[0]{document} }
sub paths { return sort keys %{ $_[0]{document}{paths} } }
sub operations { return sort keys %{ $_[0]{operations} } }

# Its members as in the document; also path, method, and the parameters of both
# the operation and its path.
sub operation {
    my ($self, $name) = @_;
    return $self->{operations}{$name} // die "no operation $name\n";
}

# The methods of a path, HEAD too.
sub methods {
    my ($self, $path) = @_;
    my $item = $self->{document}{paths}{$path};

    return map { $_ eq 'get' ? ('GET', 'HEAD') : uc }
           grep { $item->{$_} } @Methods;
}

# What follows a $ref, as often as there is one.
sub resolve {
    my ($self, $node) = @_;

    while (ref $node eq 'HASH' && defined $node->{'$ref'}) {
        $node = $self->target($node->{'$ref'});
    }

    return $node;
}

sub target {
    my ($self, $ref) = @_;
    my $node = $self->{document};

    my ($pointer) = $ref =~ m{^#/(.+)} or die "not in this document: $ref\n";
    for my $name (split m{/}, $pointer) {
        $node = $node->{$name =~ s/~1/\//gr} // die "dangling \$ref: $ref\n";
    }

    return $node;
}

# The answer that the document has for a status, or undef.  A name instead of
# an operation is that of an x- answer, "x-other-paths", or of some by their
# statuses, "x-refusals".
sub response {
    my ($self, $name, $status) = @_;

    if ($name =~ /^(x-\S+)(?: (.+))?/) {
        my $node = defined $2 ? $self->{document}{paths}{$2}
                              : $self->{document};
        return $self->resolve($node->{$1}) if $1 ne 'x-refusals';
        return $self->resolve($node->{$1}{$status}
                              // $node->{$1}{substr($status, 0, 1) . 'XX'});
    }

    return $self->resolve($self->operation($name)->{responses}{$status});
}

# Every outcome that the document has for an operation.
sub outcomes {
    my ($self, $name) = @_;
    my @outcomes;

    for my $status (sort keys %{ $self->operation($name)->{responses} }) {
        my $response = $self->response($name, $status);
        my $problem = $response->{content}{'application/problem+json'};

        push @outcomes, $problem
            ? map { "$status $_" } $self->codes($problem->{schema})
            : $status;
    }

    return @outcomes;
}

# The codes of a problem's schema.
sub codes {
    my ($self, $schema) = @_;
    return @{ $schema->{properties}{code}{enum} // [] };
}

# Every code that the document has.
sub all_codes {
    my ($self) = @_;
    my %codes;

    walk($self->{document}, '', sub {
        my ($node, $where) = @_;
        my $code = $node->{code};

        $codes{$_} = 1 for ref $code eq 'HASH' && $where =~ m{/properties$}
                           ? @{ $code->{enum} // [] } : ();
    });

    return sort keys %codes;
}

# The outcome of an answer.
sub outcome {
    my ($self, $answer) = @_;

    return $answer->status
        if ($answer->header('Content-Type') // '')
           ne 'application/problem+json';

    my $problem = eval { decode($answer->body) };
    return join ' ', $answer->status,
           ref $problem eq 'HASH' ? $problem->{code} // () : ();
}

# What is wrong with an answer: a list, empty if nothing is.
sub complaints {
    my ($self, $name, $answer) = @_;

    my $response = $self->response($name, $answer->status)
        // return 'the document has no ' . $answer->status;

    return ($self->header_complaints($response, $answer),
            $self->body_complaints($response, $answer));
}

# What nobody may keep says so, and the document says of what else there is.
sub cache_complaints {
    my ($self, $name, $answer) = @_;

    my $response = $self->response($name, $answer->status) // {};
    my $header = $self->resolve($response->{headers}{'Cache-Control'});
    my $schema = $header ? $self->resolve($header->{schema})
                         : { const => 'no-store' };

    return $self->validate($schema, $answer->header('Cache-Control') // '',
                           'Cache-Control');
}

sub header_complaints {
    my ($self, $response, $answer) = @_;
    my @wrong;

    my %known = map { lc $_ => $response->{headers}{$_} }
                keys %{ $response->{headers} // {} };

    for my $name (@Headers) {
        my $header = $self->resolve($known{lc $name});
        my $value = $answer->header($name);

        if (!defined $value) {
            push @wrong, "$name is missing" if $header && $header->{required};
        } elsif (!$header) {
            push @wrong, "the document has no $name: $value";
        } else {
            my $schema = $self->resolve($header->{schema});
            $value += 0 if ($schema->{type} // '') eq 'integer'
                           && $value =~ /^\d+\z/;
            push @wrong, $self->validate($schema, $value, $name);
        }
    }

    return @wrong;
}

sub body_complaints {
    my ($self, $response, $answer) = @_;

    my $content = $response->{content} // {};
    my $type = $answer->header('Content-Type') // '';

    if (!%$content) {
        return length $answer->body ? 'there is a body: ' . $answer->body : ();
    }

    my $media = $content->{$type}
        // return "Content-Type is $type, not " . join ' or ', keys %$content;

    return $self->validate($media->{schema}, $answer->body, 'the body')
        if $type !~ m{[/+]json$};

    my $value = eval { decode($answer->body) };
    return 'the body is not JSON: ' . $answer->body if $@;

    return ($self->validate($media->{schema}, $value, ''),
            $type eq 'application/problem+json'
                ? problem_complaints($answer, $value) : ());
}

# RFC 9457: what a problem says twice is the same.
sub problem_complaints {
    my ($answer, $problem) = @_;
    my @wrong;

    push @wrong, "the status in the body is $problem->{status}"
        if $problem->{status} != $answer->status;
    push @wrong, "the type $problem->{type} is not of $problem->{code}"
        if $problem->{type} ne "urn:concert:problem:$problem->{code}";

    return @wrong;
}

sub decode { return JSON::PP->new->utf8->allow_nonref->decode($_[0]) }


# --- JSON Schema ------------------------------------------------------------

# What is wrong with a value, as a list.
sub validate {
    my ($self, $schema, $value, $where) = @_;

    my $wrong = [];
    my $named = $self->apply($schema, $value, $where, $wrong);

    if (ref $value eq 'HASH') {
        push @$wrong, map { "$where.$_ is not in the document" }
                      grep { !$named->{$_} } sort keys %$value;
    }

    return @$wrong;
}

my %Keyword = (
    '$ref' => sub {
        my ($self, $ref, $value, $where, $wrong) = @_;
        return $self->apply($self->target($ref), $value, $where, $wrong);
    },

    allOf => sub {
        my ($self, $schemas, $value, $where, $wrong) = @_;
        return { map { %{ $self->apply($_, $value, $where, $wrong) } }
                 @$schemas };
    },

    anyOf => sub {
        my ($self, $schemas, $value, $where, $wrong) = @_;
        my (%named, $right, @reasons);

        for my $schema (@$schemas) {
            my $reasons = [];
            my $named = $self->apply($schema, $value, $where, $reasons);

            if (!@$reasons) {
                %named = (%named, %$named);
                $right++;
            }
            push @reasons, @$reasons;
        }

        push @$wrong, @reasons if !$right;
        return \%named;
    },

    if => sub {
        my ($self, $condition, $value, $where, $wrong, $schema) = @_;
        my $reasons = [];

        $self->apply($condition, $value, $where, $reasons);
        my $branch = $schema->{@$reasons ? 'else' : 'then'} // return;
        return $self->apply($branch, $value, $where, $wrong);
    },

    type => sub {
        my ($self, $types, $value, $where, $wrong) = @_;
        my @types = ref $types ? @$types : $types;

        push @$wrong, "$where is " . show($value) . ", not of type @types"
            if !grep { is_of_type($value, $_) } @types;
    },

    enum => sub {
        my ($self, $values, $value, $where, $wrong) = @_;

        push @$wrong, "$where is " . show($value) . ', not one of '
                      . join ', ', map { show($_) } @$values
            if !grep { show($_) eq show($value) } @$values;
    },

    const => sub {
        my ($self, $const, $value, $where, $wrong) = @_;

        push @$wrong, "$where is " . show($value) . ', not ' . show($const)
            if show($value) ne show($const);
    },

    properties => sub {
        my ($self, $properties, $value, $where, $wrong) = @_;
        return if ref $value ne 'HASH';

        for my $name (grep { exists $value->{$_} } sort keys %$properties) {
            push @$wrong, $self->validate($properties->{$name},
                                          $value->{$name}, "$where.$name");
        }

        return { map { $_ => 1 } keys %$properties };
    },

    additionalProperties => sub {
        my ($self, $schema, $value, $where, $wrong, $object) = @_;
        return if ref $value ne 'HASH';

        my @names = grep { !$object->{properties}{$_} } keys %$value;
        push @$wrong, map { $self->validate($schema, $value->{$_},
                                            "$where.$_") } @names;
        return { map { $_ => 1 } @names };
    },

    required => sub {
        my ($self, $names, $value, $where, $wrong) = @_;

        push @$wrong, map { "$where.$_ is missing" }
                      grep { !exists $value->{$_} } @$names
            if ref $value eq 'HASH';
    },

    minProperties => sub {
        my ($self, $least, $value, $where, $wrong) = @_;
        push @$wrong, "$where has less than $least members"
            if ref $value eq 'HASH' && keys %$value < $least;
    },

    items => sub {
        my ($self, $schema, $value, $where, $wrong) = @_;

        push @$wrong, map { $self->validate($schema, $value->[$_],
                                            $where . "[$_]") } 0 .. $#$value
            if ref $value eq 'ARRAY';
    },

    prefixItems => sub {
        my ($self, $schemas, $value, $where, $wrong) = @_;
        return if ref $value ne 'ARRAY';

        for my $i (0 .. $#$value) {
            push @$wrong, $i < @$schemas
                ? $self->validate($schemas->[$i], $value->[$i], $where . "[$i]")
                : $where . "[$i] is not in the document";
        }
    },

    minItems => sub {
        my ($self, $least, $value, $where, $wrong) = @_;
        push @$wrong, "$where has less than $least items"
            if ref $value eq 'ARRAY' && @$value < $least;
    },

    maxItems => sub {
        my ($self, $most, $value, $where, $wrong) = @_;
        push @$wrong, "$where has more than $most items"
            if ref $value eq 'ARRAY' && @$value > $most;
    },

    uniqueItems => sub {
        my ($self, $unique, $value, $where, $wrong) = @_;
        return if ref $value ne 'ARRAY';

        my %seen;
        push @$wrong, "$where has an item twice"
            if $unique && grep { $seen{show($_)}++ } @$value;
    },

    minimum => sub {
        my ($self, $least, $value, $where, $wrong) = @_;
        push @$wrong, "$where is $value, less than $least"
            if is_of_type($value, 'number') && $value < $least;
    },

    maximum => sub {
        my ($self, $most, $value, $where, $wrong) = @_;
        push @$wrong, "$where is $value, more than $most"
            if is_of_type($value, 'number') && $value > $most;
    },

    minLength => sub {
        my ($self, $least, $value, $where, $wrong) = @_;
        push @$wrong, "$where is shorter than $least"
            if is_of_type($value, 'string') && length $value < $least;
    },

    maxLength => sub {
        my ($self, $most, $value, $where, $wrong) = @_;
        push @$wrong, "$where is longer than $most"
            if is_of_type($value, 'string') && length $value > $most;
    },

    pattern => sub {
        my ($self, $pattern, $value, $where, $wrong) = @_;
        push @$wrong, "$where is " . show($value) . ", not like $pattern"
            if is_of_type($value, 'string') && $value !~ /$pattern/;
    },

    format => sub {
        my ($self, $format, $value, $where, $wrong) = @_;
        die "format $format is not known\n" if $format ne 'date-time';

        push @$wrong, "$where is " . show($value) . ', not a time'
            if is_of_type($value, 'string') && !is_time($value);
    },

    # read by "if", or for people only
    (map { $_ => sub { } } qw( then else description default )),
);

# Adds what is wrong; returns the members that the schema names.
sub apply {
    my ($self, $schema, $value, $where, $wrong) = @_;
    my %named;

    for my $keyword (sort keys %$schema) {
        my $check = $Keyword{$keyword} // die "$keyword is not known\n";
        my $names = $self->$check($schema->{$keyword}, $value, $where, $wrong,
                                  $schema);
        %named = (%named, %$names) if ref $names eq 'HASH';
    }

    return \%named;
}

sub is_of_type {
    my ($value, $type) = @_;

    return !defined $value if $type eq 'null';
    return 0 if !defined $value;
    return JSON::PP::is_bool($value) if $type eq 'boolean';
    return ref $value eq 'HASH' if $type eq 'object';
    return ref $value eq 'ARRAY' if $type eq 'array';
    return 0 if ref $value;

    # as it was written: 1 and 1.0 and "1" are three different things
    my $flags = B::svref_2object(\$value)->FLAGS;
    my $number = $flags & (B::SVp_IOK | B::SVp_NOK) && !($flags & B::SVp_POK);

    return !$number if $type eq 'string';
    return $number if $type eq 'number';
    return $number && $flags & B::SVp_IOK if $type eq 'integer';

    die "type $type is not known\n";
}

# RFC 3339
sub is_time {
    my ($text) = @_;

    my ($month, $day, $hour, $minute, $second) =
        $text =~ /\A\d{4}-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?
                  (?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)\z/x or return 0;

    return $month >= 1 && $month <= 12 && $day >= 1 && $day <= 31
           && $hour <= 23 && $minute <= 59 && $second <= 60;
}

sub show { return $Json->encode($_[0]) }


# --- the document itself ----------------------------------------------------

# What is wrong with it: references to nothing, examples that are not what
# their schemas say, parts that nothing uses.
sub document_complaints {
    my ($self) = @_;
    my (@wrong, %used, %ids);

    walk($self->{document}, '', sub {
        my ($node, $where) = @_;

        if (defined $node->{'$ref'}) {
            $used{$node->{'$ref'}}++;
            eval { $self->target($node->{'$ref'}) }
                or push @wrong, "$where: $@";
        }

        my @examples = map { $_->{value} } values %{ $node->{examples} // {} };
        push @examples, $node->{example} if exists $node->{example};

        push @wrong, map { $self->validate($node->{schema}, $_, $where) }
                     @examples if $node->{schema};
    });

    for my $kind (sort keys %{ $self->{document}{components} }) {
        push @wrong, map { "$_ is not used" } grep { !$used{$_} }
                     map { "#/components/$kind/$_" }
                     sort keys %{ $self->{document}{components}{$kind} };
    }

    for my $name ($self->operations) {
        my $operation = $self->operation($name);

        push @wrong, "$name has no $_" for grep { !$operation->{$_} }
                     qw( operationId summary tags responses );
        push @wrong, "$name: another has its operationId"
            if $ids{$operation->{operationId}}++;

        my $in_path = join ' ', sort $operation->{path} =~ /\{(\w+)\}/g;
        my $declared = join ' ', sort map { $_->{name} }
                                 grep { $_->{in} eq 'path' }
                                 @{ $operation->{parameters} };
        push @wrong, "$name: the parameters of its path are $declared"
            if $in_path ne $declared;
    }

    return @wrong;
}

sub walk {
    my ($node, $where, $visit) = @_;

    if (ref $node eq 'HASH') {
        $visit->($node, $where);
        walk($node->{$_}, "$where/$_", $visit) for sort keys %$node;
    } elsif (ref $node eq 'ARRAY') {
        walk($node->[$_], "$where/$_", $visit) for 0 .. $#$node;
    }
}

1;
